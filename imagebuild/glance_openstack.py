"""Glance by openstacksdk: the only module that knows OpenStack."""

import html
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any

import openstack
from keystoneauth1 import exceptions as auth
from openstack import exceptions
from openstack.config.loader import CONFIG_FILES
from openstack.connection import Connection
from requests import Response

from imagebuild.clouds import check_clouds
from imagebuild.errors import BadInput, PublishFailed
from imagebuild.glance import DRAFT_FOR, Remote, State, Visibility
from imagebuild.glance_upload import Body
from imagebuild.yamlfile import unknown

log = logging.getLogger(__name__)

PATCH_TYPE = "application/openstack-images-v2.1-json-patch"
"""Image service API v2, "Update image"."""
PAGE = 200
"""Images asked for at once."""
OWN_FIELDS = frozenset(
    {
        *("id", "name", "status", "visibility", "protected", "owner", "size", "virtual_size"),
        *("min_disk", "min_ram", "tags", "checksum", "os_hash_algo", "os_hash_value"),
        *("os_hidden", "disk_format", "container_format", "created_at", "updated_at"),
        *("file", "self", "schema", "stores", "locations", "direct_url"),
    }
)
"""Of Glance itself; all others are properties."""
STATES: Mapping[str, State] = {
    "queued": State.EMPTY,
    "saving": State.ARRIVING,
    "active": State.WHOLE,
}
CLOUDS_HINT = (
    "clouds.yaml lies here, in ~/.config/openstack or in /etc/openstack; the dashboard offers it"
)
MISSHAPEN = (TypeError, ValueError, AttributeError, KeyError)
"""What the libraries raise for settings of another shape than they expect."""
PASSWORD_TYPES = (None, "password", "v3password")
TROUBLE = range(500, 600)
"""A server that has trouble, with its database or behind a proxy, may have none in a moment."""
PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds before it is asked again."""
QUOTA = 413
"""How Glance refuses what exceeds a quota."""


class Glance:
    """`imagebuild.glance_upload.Store` of one project of one cloud."""

    def __init__(self, connection: Connection, cloud: str) -> None:
        self._cloud = cloud
        self._troubles = 0
        with self._told("log in"):
            self._images = connection.image
            self._project = connection.current_project_id

    def look(self, name: str) -> tuple[datetime, Sequence[Remote]]:
        """The server's clock, and all images of our project under this name, drafts too."""
        found: dict[str, Remote] = {}
        now = datetime.now(UTC)
        queries = (
            {"name": name, "os_hidden": "false"},
            {"name": name, "os_hidden": "true"},
            {DRAFT_FOR: name, "os_hidden": "true"},
        )
        for query in queries:
            for answer in self._pages(query):
                now = _clock(answer)
                found |= {i["id"]: remote(i) for i in answer.json()["images"] if self._is_ours(i)}
        return now, list(found.values())

    def create(self, fields: Mapping[str, object]) -> str:
        """Make an image without bytes; returns its id."""
        with self._told("make an image"):
            answer = _patiently(lambda: self._images.post("/images", json=dict(fields)))
            self._require(answer, "make an image")
        return str(answer.json()["id"])

    def send(self, image: str, body: Body) -> bool:
        """Send all bytes; False when it is to be looked again, what became of the image."""
        kind = {"Content-Type": "application/octet-stream"}
        try:
            with self._told("take the bytes"):
                answer = self._images.put(
                    f"/images/{image}/file", data=body, headers=kind, connect_retries=0
                )
        except PublishFailed as error:
            if error.__cause__ is None:
                raise
            raise _broken_off(self._cloud, image, body) from error.__cause__
        self._troubles += answer.status_code in TROUBLE
        if answer.status_code in (404, 409):
            return False
        if answer.status_code in TROUBLE and self._troubles <= len(PAUSES):
            time.sleep(PAUSES[self._troubles - 1])
            return False
        self._require(answer, "take the image")
        return True

    def change(self, image: str, fields: Mapping[str, object]) -> bool:
        """Set fields in one request; False when the image is gone."""
        with self._told("change an image"):
            before = _patiently(lambda: self._images.get(f"/images/{image}"))
            if before.status_code == 404:
                return False
            self._require(before, "show an image")
            patch = list(_patch(before.json(), fields))
            kind = {"Content-Type": PATCH_TYPE}
            answer = _patiently(
                lambda: self._images.patch(f"/images/{image}", json=patch, headers=kind)
            )
            if answer.status_code == 404:
                return False
            self._require(answer, f"change the image {image}")
        return True

    def delete(self, image: str) -> str | None:
        """Remove an image; returns why it must stay."""
        with self._told("delete an image"):
            answer = _patiently(lambda: self._images.delete(f"/images/{image}"))
            if answer.status_code < 400 or self._images.get(f"/images/{image}").status_code == 404:
                return None
            if answer.status_code in TROUBLE:
                self._require(answer, f"delete the image {image}")
        return _reason(answer)

    def _is_ours(self, image: Mapping[str, Any]) -> bool:
        return bool(image["owner"] == self._project)

    def _pages(self, query: Mapping[str, str]) -> Iterator[Response]:
        # Without visibility=all, community images would be left out.
        first = {**query, "owner": self._project, "visibility": "all", "limit": str(PAGE)}
        url, params = "/images", first
        while url:
            with self._told("list images"):
                answer = _patiently(partial(self._images.get, url, params=params))
                self._require(answer, "list images")
            yield answer
            url, params = answer.json().get("next", "").removeprefix("/v2"), {}

    def _require(self, answer: Response, what: str) -> None:
        if answer.status_code < 400:
            return
        error = PublishFailed(
            f"the cloud {self._cloud} refused to {what} ({answer.status_code}): {_reason(answer)}"
        )
        if answer.status_code == QUOTA:
            error.add_note("delete images of this project, or ask for a larger quota")
        if answer.status_code == 403:
            error.add_note("the role of this user may not; --visibility public needs an admin")
        raise error

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Errors of the session in one sentence; theirs may quote what must not be shown."""
        try:
            yield
        except (auth.Unauthorized, exceptions.ForbiddenException) as error:
            told = PublishFailed(
                f"the cloud {self._cloud} does not accept this user: {_why(error)}"
            )
            told.add_note("look at username, password, project and domains in clouds.yaml")
            raise told from None
        except (auth.EndpointNotFound, auth.EmptyCatalog, exceptions.ServiceDiscoveryException):
            told = PublishFailed(f"the cloud {self._cloud} offers no image service")
            told.add_note("look at region_name and interface in clouds.yaml")
            raise told from None
        except (auth.ConnectionError, auth.RetriableConnectionFailure, auth.SSLError) as error:
            told = PublishFailed(f"the cloud {self._cloud} does not answer: cannot {what}")
            told.add_note(
                "look at auth_url in clouds.yaml, and whether it can be reached from here"
            )
            raise told from error
        except (auth.ClientException, exceptions.SDKException) as error:
            told = PublishFailed(f"the cloud {self._cloud} cannot {what}: {_why(error)}")
            raise told from None


def connect(cloud: str | None) -> Glance:
    """Log in to a cloud of clouds.yaml; None: the one that OS_CLOUD or the OS_ variables name.

    Raises BadInput without such a cloud, PublishFailed when it cannot be reached.
    """
    known = check_clouds(_clouds_places(), cloud or os.environ.get("OS_CLOUD"))
    try:
        connection = openstack.connect(cloud=cloud, app_name="rackseed")
    except exceptions.ConfigException as error:
        raise _no_cloud(cloud, known, error) from None
    except (auth.ClientException, exceptions.SDKException, *MISSHAPEN) as error:
        wrong = BadInput(f"the cloud {cloud or 'of the environment'}: {_why(error)}")
        wrong.add_note(CLOUDS_HINT)
        raise wrong from None
    name = cloud or connection.config.name or "of the environment"
    _require_password(connection.config.config, name)
    return Glance(connection, name)


def _clouds_places() -> Sequence[Path]:
    named = os.environ.get("OS_CLIENT_CONFIG_FILE")
    return [Path(place) for place in ([named] if named else []) + list(CONFIG_FILES)]


def _require_password(config: Mapping[str, Any], name: str) -> None:
    """The plugin itself has no error of its own for this."""
    given = config.get("auth") or {}
    if config.get("auth_type") not in PASSWORD_TYPES or not given.get("auth_url"):
        return
    if missing := [key for key in ("username", "password") if not _is_given(given, key)]:
        wrong = BadInput(f"the cloud {name}: no {' and no '.join(missing)} is given")
        wrong.add_note(CLOUDS_HINT)
        raise wrong


def _is_given(auth: Mapping[str, Any], key: str) -> bool:
    return bool(auth.get(key) or (key == "username" and auth.get("user_id")))


def _patiently(ask: Callable[[], Response]) -> Response:
    """Ask again while the server has trouble; each of these requests may come twice."""
    for pause in PAUSES:
        answer = ask()
        if answer.status_code not in TROUBLE:
            return answer
        log.info("asking again status=%s in seconds=%s", answer.status_code, pause)
        time.sleep(pause)
    return ask()


def remote(image: Mapping[str, Any]) -> Remote:
    """An image as Glance shows it."""
    algorithm, digest = image.get("os_hash_algo"), image.get("os_hash_value")
    if not (algorithm and digest) and image.get("checksum"):
        algorithm, digest = "md5", image["checksum"]
    return Remote(
        id=image["id"],
        name=image.get("name") or "",
        state=STATES.get(image["status"], State.BROKEN),
        hidden=bool(image.get("os_hidden")),
        visibility=Visibility(image["visibility"]),
        created=datetime.fromisoformat(image["created_at"]),
        updated=datetime.fromisoformat(image["updated_at"]),
        size=image.get("size"),
        hash=(algorithm, digest) if algorithm and digest else None,
        min_disk=image.get("min_disk") or 0,
        min_ram=image.get("min_ram") or 0,
        tags=frozenset(image.get("tags", ())),
        properties={k: str(v) for k, v in image.items() if k not in OWN_FIELDS},
    )


def _patch(before: Mapping[str, Any], fields: Mapping[str, object]) -> Iterator[dict[str, object]]:
    """Operations for JSON patch (RFC 6902); Glance's own fields always exist."""
    for name, value in fields.items():
        path = "/" + name.replace("~", "~0").replace("/", "~1")
        exists = name in before or name in OWN_FIELDS
        if value is None:
            if name in before:
                yield {"op": "remove", "path": path}
        else:
            yield {"op": "replace" if exists else "add", "path": path, "value": value}


def _broken_off(cloud: str, image: str, body: Body) -> PublishFailed:
    error = PublishFailed(
        f"the cloud {cloud} ended the connection after {body.at:,} of {len(body):,} bytes; "
        f"nothing is published, the draft is {image}"
    )
    error.add_note("run the same command again: it finishes or removes the draft")
    return error


def _no_cloud(cloud: str | None, known: Sequence[str], error: Exception) -> BadInput:
    if cloud is None:
        wrong = BadInput("no cloud is named: --cloud NAME, OS_CLOUD, or the OS_ variables")
    elif known and cloud not in known:
        wrong = BadInput(unknown("cloud", cloud, known))
    else:
        wrong = BadInput(f"no clouds.yaml describes the cloud {cloud}: {_why(error)}")
    wrong.add_note(CLOUDS_HINT)
    return wrong


def _clock(answer: Response) -> datetime:
    try:
        return parsedate_to_datetime(answer.headers["Date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return datetime.now(UTC)


def _reason(answer: Response) -> str:
    """What a refusal says, without its markup and on one line."""
    text = re.sub(r"<title>.*?</title>|<h1>.*?</h1>", " ", answer.text, flags=re.DOTALL)
    text = html.unescape(re.sub(r"<[^>]*>", " ", text))
    return " ".join(text.split())[:300].rstrip(". ") or str(answer.reason)


def _why(error: Exception) -> str:
    text = " ".join(str(error).split()).rstrip(". ")
    return re.sub(r"\s*\(?(HTTP \d+\)?|Request-ID: [\w-]+\)?).*", "", text)[:300] or "no reason"
