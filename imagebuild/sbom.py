"""The bill of materials of an image: CycloneDX 1.6, from its own package database."""

import json
import uuid
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from imagebuild.inside.packages import Package
from imagebuild.seal.system import System

_NAMESPACE = uuid.UUID("8f1f4e39-5d39-4ad2-9d59-1f9b7bd8a1c3")
"""Of our serial numbers: one image file has one."""


def sbom(
    name: str, sha256: str, system: System, packages: Sequence[Package], made: datetime
) -> str:
    """The document as JSON text; the same for the same arguments."""
    image = Component(
        name=name,
        type=ComponentType.OPERATING_SYSTEM,
        version=system.version or None,
        description=system.name,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=sha256)],
        bom_ref=f"image:{name}",
    )
    bom = Bom(serial_number=uuid.uuid5(_NAMESPACE, sha256))
    bom.metadata.component = image
    bom.metadata.timestamp = made.astimezone(UTC)
    components = [_component(package, system) for package in packages]
    for component in components:
        bom.components.add(component)
    bom.register_dependency(image, components)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # packages' own dependencies are not listed
        text: str = JsonV1Dot6(bom).output_as_string()
    return json.dumps(json.loads(text), indent=1, sort_keys=True) + "\n"


def purl(package: Package, system: System) -> PackageURL:
    """As the specification of package URLs has it for deb and rpm."""
    qualifiers: dict[str, str] = {"arch": package.arch, "distro": f"{system.id}-{system.version}"}
    version = package.version
    if package.kind == "rpm":
        epoch, mark, rest = version.partition(":")
        if mark:
            version, qualifiers["epoch"] = rest, epoch
    if package.source and package.source != package.name:
        qualifiers["upstream"] = package.source
    return PackageURL(package.kind, system.id, package.name, version, qualifiers)


def _component(package: Package, system: System) -> Component:
    url = purl(package, system)
    return Component(
        name=package.name,
        version=package.version,
        type=ComponentType.LIBRARY,
        purl=url,
        bom_ref=url.to_string(),
        licenses=[DisjunctiveLicense(name=package.license)] if package.license else [],
    )


def components(text: str) -> Mapping[str, str]:
    """Names and versions of a document that we wrote."""
    return {one["name"]: one["version"] for one in json.loads(text)["components"]}
