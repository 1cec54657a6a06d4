"""The sections of config.yaml that belong to features."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from lineup.config import rest


class Section(BaseModel):
    """A mapping in config.yaml."""

    # strict: the text "3" is no integer, and a YAML 1.1 "yes" parsed as True is no name
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Evaluation(Section):
    """The page and the API that evaluate backbones on a folder of images; the command line has no limits."""

    enabled: bool = Field(True, description="false: no such page, and no such endpoint")
    max_images: int = Field(500, ge=2, le=100_000, description="most files of one evaluation")
    max_mb: int = Field(200, ge=1, le=100_000, description="largest total size of its files, in millions of bytes")


class Training(Section):
    """The page that trains classifiers for a user's own classes; the command line has no limits."""

    enabled: bool = Field(True, description="false: no such page")
    public: bool = Field(
        False,
        description="true: any user of the page may add a classifier to it for all; otherwise only on a "
        "machine of your own, which is neither a Space nor shared",
    )
    max_images: int = Field(500, ge=2, le=100_000, description="most images of one training")
    max_mb: int = Field(200, ge=1, le=100_000, description="largest total size of its files, in millions of bytes")


class Rest(Section):
    """The HTTP API below /v1."""

    enabled: bool = Field(True, description="false: no route below /v1")
    cors: list[Annotated[str, AfterValidator(rest.origin)]] = Field(
        default_factory=list,
        description="origins whose pages may call it from a browser, such as `https://example.org`, or `*` for all",
    )
    trusted_proxies: list[Annotated[str, AfterValidator(rest.network)]] = Field(
        default_factory=list,
        description="addresses or networks, such as `10.0.0.0/8`, of proxies whose X-Forwarded-For is believed",
    )
    rate_limit: Annotated[str, AfterValidator(rest.rate_limit)] = Field(
        "",
        description="most requests of one key or client address, such as `60/minute`; none if left out",
    )
