"""The sections of config.yaml that belong to features."""

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from lineup.config import cluster_address, feedback_target, rest


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


class Feedback(Section):
    """What users say of the answers on the page: right, or what the image shows instead."""

    to: str = Field(
        "",
        description="where images are kept that users label on the page: a folder, or a data set of the Hub as "
        "`hf://datasets/OWNER/NAME`; without it, there is no such button, and nothing is kept",
    )
    private: bool = Field(True, description="whether the data set is created as a private one")
    per_visitor: int = Field(
        20,
        ge=1,
        le=100_000,
        description="most images a day from one network address; counted by each process of the server for itself",
    )
    per_day: int = Field(1000, ge=1, le=1_000_000, description="most images a day of all users")
    keep_days: int = Field(90, ge=1, le=3650, description="images that you have not reviewed are deleted after so long")

    @field_validator("to")
    @classmethod
    def _valid_target(cls, value: str) -> str:
        return feedback_target.checked(value)

    @property
    def repo(self) -> str:
        """The repository of the data set, ``owner/name``; empty for a folder."""
        return feedback_target.repo(self.to)


class Rest(Section):
    """The HTTP API below /v1."""

    enabled: bool = Field(True, description="false: no route below /v1")
    cors: list[Annotated[str, AfterValidator(rest.origin)]] = Field(
        default_factory=list,
        description="origins whose pages may call it from a browser, such as `https://example.org`, or `*` for all",
    )
    rate_limit: Annotated[str, AfterValidator(rest.rate_limit)] = Field(
        "",
        description="most requests of one key or client address, such as `60/minute`; none if left out",
    )


class Replicas(Section):
    """How many processes of a cluster answer."""

    min: int = Field(1, ge=1, le=10_000, description="processes that run at least, each with backbones of its own")
    max: int = Field(2, ge=1, le=10_000, description="processes that run at most, as many as the load needs")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"expected `min` of at most `max`; got {self.min} and {self.max}; swap them")
        return self


class Cluster(Section):
    """A Ray cluster that computes what the backbones of this config answer."""

    address: Annotated[str, AfterValidator(cluster_address.checked)] = Field(
        "auto",
        description="the cluster: `auto` (the one that runs on this machine), `ray://host:10001`, or `host:6379`, "
        "which this machine is a node of",
    )
    replicas: Replicas = Field(
        default_factory=Replicas,  # type: ignore[arg-type]
        description="how many processes answer",
    )
    backbones_per_replica: int = Field(
        2, ge=1, le=1000, description="backbones in the memory of each; the least recently used gives way"
    )
    cpus: float = Field(1, gt=0, le=1000, description="CPU cores that each is given")
    gpus: float = Field(0, ge=0, le=100, description="GPUs that each is given; 0.5: two share one")
