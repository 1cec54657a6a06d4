"""What the owner should know of the cluster although the page works."""

from lineup.service import Service


def warnings(service: Service) -> list[str]:
    """Return why the cluster cannot be asked now, if so."""
    notice = service.cluster.notice if service.cluster else ""
    return [notice] if notice else []
