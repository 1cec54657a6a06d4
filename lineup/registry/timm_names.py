"""Former names of timm's architectures, which lead to their successors."""

from timm.models import get_deprecated_models, list_pretrained, split_model_name_tag


def current_name(name: str) -> str:
    """Return the current name of a model of timm, with the tag of the same weights; a current one is returned as is."""
    architecture, tag = split_model_name_tag(name)
    successor = get_deprecated_models().get(architecture)
    if not successor:
        return name
    architecture, tag_of_successor = split_model_name_tag(successor)
    tag = tag or tag_of_successor
    tags = tags_of(architecture)
    if tag and tag not in tags:  # timm names a tag that it has completed since: sam instead of sam_in1k
        completed = [each for each in tags if each.startswith(f"{tag}_")]
        tag = completed[0] if len(completed) == 1 else tag
    return f"{architecture}.{tag}" if tag else architecture


def tags_of(architecture: str) -> list[str]:
    """Return the tags of the weights that timm publishes for an architecture."""
    return [full.partition(".")[2] for full in list_pretrained(f"{architecture}.*")]


def renamed(name: str) -> tuple[str, ...]:
    """Return a note that a name has a successor, if it has one."""
    current = current_name(name)
    return (f"timm has renamed {name}: {current} is used",) if current != name else ()
