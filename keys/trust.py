"""Trust: whose key is whose, from a TUF repository (`docs/protocol.md`, section 4, `/directory`).

python-tuf follows the root, and refuses rollback, freeze, expiry and mix-and-match; a country's role
can publish under its own path only. On top of that, an entry counts only if its id, its path and its
country say the same, and if each key's id is that key's thumbprint.

A country that signs nonsense, or lets its role run out, harms itself alone: its entries are left out
and named in `DirectoryClient.excluded`. Anything else, also a single file that was changed on its way,
refuses the whole, so that nobody between can make a participant vanish; whoever holds the previous
`TrustedDirectory` keeps it until `expires_at`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp
from tuf.ngclient import FetcherInterface, Updater

from keys import jwk, strict_json
from schemas.base import ParticipantId
from schemas.directory import KeyUse, OrganisationKind, Participant, TrustedDirectory
from schemas.errors import (
    BrokerError,
    DirectoryExpired,
    DirectoryFrozen,
    DirectoryMismatch,
    DirectoryOutOfScope,
    DirectoryRefused,
    DirectoryRolledBack,
    DirectoryUnsigned,
    HubUnreachable,
    StorageUnavailable,
)

HUB_PATH = "hub"
COUNTRY = re.compile(r"[a-z]{2}")
"""ISO 3166-1 alpha-2 in lower case, and `xk`: the name of a country's role and folder."""
MAX_ENTRY_BYTES = 128 * 1024
"""Of one participant's entry. Eight hybrid keys take 15 KiB."""
FETCH_TIMEOUT_SECONDS = 20.0
MAX_VERSION = 2**40
"""Of a snapshot. At one a second this lasts for 34 000 years; whoever is above it fast-forwards, so
that no honest version could ever follow."""


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Alone with the files of a folder; it ends with the process, too.

    What is read after verifying must be what was verified, not what another wrote meanwhile.
    """
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


class DirectoryClient:
    """Follows one repository. Several processes may share one `cache_dir`, as a gateway and the
    commands of its operator do: they take turns."""

    def __init__(
        self,
        base: str | Path,
        cache_dir: Path,
        trusted_root: bytes,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Nothing is fetched yet.

        Args:
            base: The repository: a URL under which `metadata/` and `targets/` are, or a folder.
            cache_dir: Ours to write; remembers versions, so that a rollback shows after a restart.
            trusted_root: A root, obtained by a way that an attacker on the network does not control.
            tls: Whom to trust as a server; the system's authorities if None.
        """
        self._base = str(base).rstrip("/")
        self._cache = cache_dir
        self._root = trusted_root
        self._tls = tls
        self.excluded: dict[str, str] = {}
        """By path or country: why it was left out the last time. For an operator's eyes."""
        self.expires_at: datetime | None = None
        """When the directory that was returned last becomes too old to be believed."""

    def refresh(self, now: datetime) -> TrustedDirectory:
        """Fetch, verify and return the directory as it is now.

        Raises:
            HubUnreachable: The repository cannot be read; what is in hand stays good till it expires.
            DirectoryRefused: It does not verify: expired, frozen, rolled back, badly signed, or two
                participants claim one key.
            StorageUnavailable: `cache_dir` cannot be written.
        """
        if urlsplit(self._base).scheme not in ("http", "https"):
            return self._load(self._base, _FileFetcher(), now)
        verify = self._tls or True
        with httpx2.Client(verify=verify, timeout=FETCH_TIMEOUT_SECONDS, trust_env=False) as client:
            return self._load(self._base, _HttpFetcher(client), now)

    def cached(self, now: datetime) -> TrustedDirectory:
        """The directory that was verified last, without a network, for a start while it is down.

        It is verified again from the root, expiry included.

        Raises:
            HubUnreachable: There is none that is still good.
            DirectoryRefused, StorageUnavailable: See `refresh`.
        """
        return self._load("cache:", _CacheFetcher(self._metadata), now)

    @property
    def _metadata(self) -> Path:
        return self._cache / "metadata"

    @property
    def _targets(self) -> Path:
        return self._cache / "targets"

    def _load(self, base: str, fetcher: FetcherInterface, now: datetime) -> TrustedDirectory:
        try:
            self._metadata.mkdir(parents=True, exist_ok=True)
            self._targets.mkdir(parents=True, exist_ok=True)
            with _turn(self._cache):
                updater = Updater(
                    str(self._metadata),
                    f"{base}/metadata/",
                    str(self._targets),
                    f"{base}/targets/",
                    fetcher=fetcher,
                    bootstrap=self._root,
                )
                # The library reads the machine's clock; our callers say what time it is. A test
                # sees to it that this still has an effect.
                updater._trusted_set.reference_time = now
                updater.refresh()
                return self._read(updater, now)
        except DownloadLengthMismatchError as error:
            raise DirectoryMismatch(str(error)) from None
        except DownloadError as error:
            raise HubUnreachable(f"directory: {type(error).__name__}") from None
        except RepositoryError as error:
            raise refusal_of(error) from error
        except OSError as error:
            raise StorageUnavailable(f"directory cache: {error.strerror}") from None

    def _read(self, updater: Updater, now: datetime) -> TrustedDirectory:
        """Collect the entries. Paths come from the files that the updater verified and wrote just
        now; whether a path is to be believed is asked of the updater again, one by one."""
        self.excluded = {}
        snapshot_bytes = (self._metadata / "snapshot.json").read_bytes()
        snapshot: Metadata[Snapshot] = Metadata.from_bytes(snapshot_bytes)
        timestamp: Metadata[Timestamp] = Metadata.from_file(str(self._metadata / "timestamp.json"))
        targets: Metadata[Targets] = Metadata.from_file(str(self._metadata / "targets.json"))
        entries = self._entries(updater, HUB_PATH, targets.signed.targets)
        delegations = targets.signed.delegations
        ends: dict[str, datetime] = {}
        for country in sorted((delegations and delegations.roles) or ()):
            entries += self._country(updater, country, ends)
        root: Metadata[Root] = Metadata.from_file(str(self._metadata / "root.json"))
        if snapshot.signed.version >= MAX_VERSION:
            raise DirectoryRolledBack("a version that no honest one could follow")
        top = {
            "root": root.signed.expires,
            "targets": targets.signed.expires,
            "snapshot": snapshot.signed.expires,
            "timestamp": timestamp.signed.expires,
        }
        self.expires_at = min(top.values())
        return build_directory(
            entries,
            root_version=root.signed.version,
            version=snapshot.signed.version,
            digest=hashlib.sha256(snapshot_bytes).digest(),
            now=now,
            role_ends={**top, **ends},
        )

    def _country(
        self, updater: Updater, country: str, ends: dict[str, datetime]
    ) -> list[Participant]:
        if not COUNTRY.fullmatch(country):
            self.excluded[country] = "not a country"
            return []
        try:
            updater.get_targetinfo(f"{country}/")  # no such target, but its role is loaded for it
        except ExpiredMetadataError:
            self.excluded[country] = "expired"
            ends[country] = updater._trusted_set.reference_time
            return []
        role: Metadata[Targets] = Metadata.from_file(str(self._metadata / f"{country}.json"))
        ends[country] = role.signed.expires
        return self._entries(updater, country, role.signed.targets)

    def _entries(self, updater: Updater, country: str, paths: Iterable[str]) -> list[Participant]:
        found = []
        for path in sorted(paths):
            try:
                found.append(self._entry(updater, country, path))
            except BrokerError as error:
                self.excluded[path] = error.describe()
        return found

    def _entry(self, updater: Updater, country: str, path: str) -> Participant:
        folder, _, name = path.partition("/")
        if folder != country or not name.endswith(".json"):
            raise DirectoryOutOfScope
        info = updater.get_targetinfo(path)
        if info is None:
            raise DirectoryOutOfScope
        if info.length > MAX_ENTRY_BYTES:
            raise DirectoryRefused("too large")
        file = updater.find_cached_target(info) or updater.download_target(info)
        data = Path(file).read_bytes()
        return read_entry(data, f"{country}.{name.removesuffix('.json')}")


def refusal_of(error: RepositoryError) -> DirectoryRefused:
    """What the library found, as one of our codes; its words name roles and versions only."""
    text = str(error)
    match error:
        case ExpiredMetadataError():
            online = text.startswith(("timestamp", "snapshot"))
            return DirectoryFrozen(text) if online else DirectoryExpired(text)
        case BadVersionNumberError():
            return DirectoryRolledBack(text)
        case LengthOrHashMismatchError():
            return DirectoryMismatch(text)
        case UnsignedMetadataError():
            return DirectoryUnsigned(text)
        case _:
            return DirectoryRefused(type(error).__name__)


def read_entry(data: bytes, participant: ParticipantId) -> Participant:
    """Read one entry and check that it may stand under this id.

    Raises:
        TooLarge, MalformedJson, SchemaRefused: Not an entry.
        DirectoryRefused: Id, country and kind do not agree, or a key is not what it says.
    """
    strict_json.parse_object(data, limit=MAX_ENTRY_BYTES)
    entry = Participant.from_json(data)
    check_entry(entry)
    if entry.id != participant:
        raise DirectoryOutOfScope("the id is not the path")
    return entry


def check_entry(entry: Participant) -> None:
    """Check an entry in itself.

    Raises:
        DirectoryRefused: Id, country and kind do not agree, or a key is not what it says.
    """
    prefix = entry.id.partition(".")[0]
    if (prefix == HUB_PATH) != (entry.kind is OrganisationKind.HUB):
        raise DirectoryOutOfScope("only hubs are under hub/")
    if prefix not in (HUB_PATH, entry.country.lower()):
        raise DirectoryOutOfScope("the country is not the path")
    for key in entry.keys:
        algs = jwk.SEALING_ALG if key.use is KeyUse.SEAL else jwk.SIGNING_ALG
        if key.alg != algs[key.suite] or not jwk.fits(key.jwk, key.alg):
            raise DirectoryRefused(f"key {key.kid}: not of its suite")
        if (key.compartment is not None) != (key.use is KeyUse.SEAL):
            raise DirectoryRefused(f"key {key.kid}: compartment")
        jwk.public_key(key.jwk)
        if jwk.thumbprint(key.jwk) != key.kid:
            raise DirectoryRefused(f"key {key.kid}: not its thumbprint")


def build_directory(
    entries: Sequence[Participant],
    *,
    version: int,
    digest: bytes,
    now: datetime,
    root_version: int = 1,
    role_ends: Mapping[str, datetime] | None = None,
) -> TrustedDirectory:
    """Index checked entries.

    Raises:
        DirectoryRefused: Two participants, or two uses, claim one key. Whose it is cannot be told
            here, so nothing changes until that is cleared.
    """
    directory = TrustedDirectory(
        version=version,
        root_version=root_version,
        digest=digest,
        participants={entry.id: entry for entry in entries},
        fetched_at=now,
        role_ends=dict(role_ends or {}),
    )
    for entry in entries:
        for key in entry.keys:
            if key.kid in directory.by_kid:
                raise DirectoryRefused(f"key {key.kid} is claimed twice")
            directory.by_kid[key.kid] = (entry, key)
    return directory


def insecure_directory(entries: Sequence[Participant], now: datetime) -> TrustedDirectory:
    """A directory that nobody signed. For tests, and for nothing else.

    Raises:
        DirectoryRefused: An entry that a real directory would not have.
    """
    for entry in entries:
        check_entry(entry)
    return build_directory(entries, version=1, digest=bytes(32), now=now)


class _HttpFetcher(FetcherInterface):
    def __init__(self, client: httpx2.Client) -> None:
        self._client = client

    def _fetch(self, url: str) -> Iterator[bytes]:
        # A generator, so its errors escape the library's translation; they become its own here.
        try:
            with self._client.stream("GET", url) as response:
                if response.status_code != 200:
                    raise DownloadHTTPError("status", response.status_code)
                yield from response.iter_bytes()
        except httpx2.HTTPError as error:
            raise DownloadError(type(error).__name__) from None


class _FileFetcher(FetcherInterface):
    def _fetch(self, url: str) -> Iterator[bytes]:
        return _read_file(Path(url))


class _CacheFetcher(FetcherInterface):
    """Serves the one file that the updater never takes from its own cache: the timestamp."""

    def __init__(self, metadata: Path) -> None:
        self._timestamp = metadata / "timestamp.json"

    def _fetch(self, url: str) -> Iterator[bytes]:
        if not url.endswith("/metadata/timestamp.json"):
            raise DownloadHTTPError("not in the cache", 404)
        return _read_file(self._timestamp)


def _read_file(path: Path) -> Iterator[bytes]:
    try:
        return iter([path.read_bytes()])
    except FileNotFoundError:
        raise DownloadHTTPError("no such file", 404) from None
