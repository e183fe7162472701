"""Private PostgreSQL and RabbitMQ servers for tests, measurements and `demo --rabbitmq`.

Each server has a directory, ports, a cookie and passwords of its own, listens on loopback alone,
and is stopped by the process id that started it; an installed system service is neither used nor
touched. Durability is left as in production (`fsync` on), since that is what the tests are about.

As a library (the repository root is on the path in tests and in the development environment):

    from deploy.dev.services import PostgreSQL, RabbitMQ
    with PostgreSQL.temporary() as postgres, RabbitMQ.temporary(tls=True) as rabbitmq: ...

As a program, for callers that cannot import it: it prints one JSON object with what was started,
then waits until its standard input closes, and stops everything:

    python deploy/dev/services.py postgres rabbitmq --tls
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

LOOPBACK = "127.0.0.1"
INSTALL = (
    "run `deploy/dev/install.sh` (Debian, Ubuntu) or install PostgreSQL 14+ and RabbitMQ 3.10+"
)


class ServiceMissing(RuntimeError):
    """The server's programs are not installed on this machine."""


class ServiceFailed(RuntimeError):
    """The server did not start or stop; the message ends with the tail of its log."""


def free_port() -> int:
    """A TCP port on loopback that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class Account:
    """Who runs a server: PostgreSQL refuses root, and RabbitMQ has no need of it."""

    name: str
    uid: int
    gid: int

    @classmethod
    def choose(cls, *names: str) -> Account | None:
        """The first of these accounts when we are root; None means: run it as ourselves."""
        if os.geteuid() != 0:
            return None
        for name in (*names, "nobody"):
            with contextlib.suppress(KeyError):
                entry = pwd.getpwnam(name)
                return cls(name, entry.pw_uid, entry.pw_gid)
        raise ServiceMissing(
            f"root needs one of the accounts {', '.join(names)} to run a server as"
        )


class Server:
    """One server process with a directory of its own; start, stop, kill, suspend, any number of times."""

    name = "server"

    def __init__(self, directory: Path, account: Account | None) -> None:
        self.directory = directory
        self.account = account
        self._process: subprocess.Popen[bytes] | None = None
        self._owned: tempfile.TemporaryDirectory[str] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        # The account has to pass through our directory to reach its own below it.
        directory.chmod(0o755)

    # --- what a server says about itself -------------------------------------------------

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}

    def is_ready(self) -> bool:
        raise NotImplementedError

    # --- life ----------------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, *, patience: float = 90) -> None:
        """Start and return when it serves; data of an earlier life is kept.

        Raises:
            ServiceFailed: It ended, or did not serve within `patience` seconds.
        """
        if self.is_running:
            return
        give_up = time.monotonic() + patience
        self._launch()
        while not self.is_ready():
            if not self.is_running:
                if time.monotonic() < give_up and self._may_try_again():
                    time.sleep(0.2)
                    self._launch()
                    continue
                raise ServiceFailed(f"{self.name} ended while starting\n{self.log_tail()}")
            if time.monotonic() > give_up:
                self.kill9()
                raise ServiceFailed(f"{self.name} does not answer\n{self.log_tail()}")
            time.sleep(0.05)

    def stop(self, *, patience: float = 30) -> None:
        """Ask it to end in order; kill it when it does not within `patience` seconds."""
        if self._process is None:
            return
        if self.is_running:
            self.resume()
            self._process.send_signal(self.stop_signal)
            try:
                self._process.wait(patience)
            except subprocess.TimeoutExpired:
                self.kill9()
        self._process = None

    def kill9(self) -> None:
        """End it as a power cut would: SIGKILL to the server and to its children."""
        if self._process is None:
            return
        family = [self._process.pid, *_descendants(self._process.pid)]
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(30)
        self._process = None

    def restart(self, *, kill: bool = False) -> None:
        """Stop (or kill) it and start it again with the same data and ports."""
        if kill:
            self.kill9()
        else:
            self.stop()
        self.start()

    def suspend(self) -> None:
        """Freeze it (SIGSTOP): connections stay open and nothing answers."""
        self._signal_family(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on."""
        self._signal_family(signal.SIGCONT)

    def log_tail(self, lines: int = 20) -> str:
        """The last lines that it wrote."""
        path = self.directory / "server.log"
        if not path.exists():
            return "(no log)"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])

    def close(self) -> None:
        """Stop it, and remove the directory if it was a temporary one. May be called twice."""
        self.stop()
        if self._owned is not None:
            self._owned.cleanup()
            self._owned = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    # --- inside --------------------------------------------------------------------------

    stop_signal = signal.SIGTERM

    def _may_try_again(self) -> bool:
        return False

    def _launch(self) -> None:
        with (self.directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.directory,
                env=dict(self.environment()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Its own session: a Ctrl-C in the terminal is ours to turn into an orderly stop.
                start_new_session=True,
                **self._as_account(),
            )

    def _as_account(self) -> dict[str, Any]:
        if self.account is None:
            return {}
        return {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}

    def _own(self, path: Path) -> None:
        if self.account is not None:
            os.chown(path, self.account.uid, self.account.gid)

    def _signal_family(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        for pid in [self._process.pid, *_descendants(self._process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _take_temporary(self, owned: tempfile.TemporaryDirectory[str]) -> Self:
        self._owned = owned
        atexit.register(self.close)
        return self


def _temporary(name: str) -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix=f"referral-{name}-", ignore_cleanup_errors=True)


def _descendants(pid: int) -> list[int]:
    """Children and children's children, where /proc tells (Linux); elsewhere none."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = entry.read_text().rsplit(")", 1)[1].split()
            children.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found: list[int] = []
    queue = [pid]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def _find(program: str, *more: str) -> str:
    """The path of a program, in PATH or where a distribution hides it.

    Raises:
        ServiceMissing: It is nowhere.
    """
    hidden = (
        str(path) for pattern in more for path in sorted(Path("/").glob(pattern), reverse=True)
    )
    for candidate in (*hidden, shutil.which(program) or ""):
        if candidate and os.access(candidate, os.X_OK):
            return candidate
    raise ServiceMissing(f"{program} is not installed: {INSTALL}")


# --- PostgreSQL ----------------------------------------------------------------------------


class PostgreSQL(Server):
    """A cluster of its own: TCP on loopback with a password, no unix socket, fsync on."""

    name = "PostgreSQL"
    stop_signal = signal.SIGINT  # "fast": end the sessions, then a checkpoint

    def __init__(self, directory: Path, *, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(directory, Account.choose("postgres"))
        self._binaries = {
            name: _find(name, f"usr/lib/postgresql/*/bin/{name}", f"usr/pgsql-*/bin/{name}")
            for name in ("initdb", "postgres", "psql")
        }
        self.port = free_port()
        self.user = "referral"
        self.password = secrets.token_urlsafe(18)
        self._settings = {"max_connections": "60", **(settings or {})}
        self._data = directory / "data"

    @classmethod
    def temporary(cls, *, settings: Mapping[str, str] | None = None) -> Self:
        """One in a temporary directory that `close` removes."""
        owned = _temporary("postgres")
        return cls(Path(owned.name), settings=settings)._take_temporary(owned)

    def url(self, database: str = "postgres", *, driver: str = "postgresql+asyncpg") -> str:
        """For SQLAlchemy; with `driver="postgresql"` for asyncpg itself and psql."""
        return f"{driver}://{self.user}:{self.password}@{LOOPBACK}:{self.port}/{database}"

    def start(self, *, patience: float = 90) -> None:
        if not (self._data / "PG_VERSION").exists():
            self._initialise()
        super().start(patience=patience)

    def create_database(self, name: str | None = None) -> str:
        """A new empty database; its URL for SQLAlchemy."""
        name = name or f"test_{secrets.token_hex(6)}"
        self.sql(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop it, ending whatever sessions are still in it."""
        self.sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def sql(self, statement: str, *, database: str = "postgres") -> str:
        """Run one statement as the owner; the rows as tab-separated text."""
        done = subprocess.run(
            [
                *(self._binaries["psql"], "-X", "-q", "-A", "-t", "-F", "\t"),
                *("-v", "ON_ERROR_STOP=1", "-h", LOOPBACK, "-p", str(self.port)),
                *("-U", self.user, "-d", database, "-c", statement),
            ],
            env={**self.environment(), "PGPASSWORD": self.password},
            capture_output=True,
            check=False,
            timeout=60,
        )
        if done.returncode:
            raise ServiceFailed(f"psql: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout.decode().strip()

    def command(self) -> Sequence[str]:
        settings = {"listen_addresses": LOOPBACK, "port": str(self.port)}
        settings |= {"unix_socket_directories": "", **self._settings}
        options = [text for key, value in settings.items() for text in ("-c", f"{key}={value}")]
        return [self._binaries["postgres"], "-D", str(self._data), *options]

    def is_ready(self) -> bool:
        with contextlib.suppress(ServiceFailed, subprocess.TimeoutExpired):
            return self.sql("SELECT 1") == "1"
        return False

    def _may_try_again(self) -> bool:
        # After a kill the old backends may hold the shared memory for a moment longer.
        return "shared memory" in self.log_tail(5) or "lock file" in self.log_tail(5)

    def _initialise(self) -> None:
        self._data.mkdir(exist_ok=True)
        self._own(self._data)
        self._data.chmod(0o700)
        password = self.directory / "password"
        password.touch(mode=0o600)
        password.write_text(self.password)
        self._own(password)
        done = subprocess.run(
            [
                *(self._binaries["initdb"], "-D", str(self._data), "-U", self.user, "-E", "UTF8"),
                *("--no-locale", "--no-sync", "--auth=scram-sha-256", f"--pwfile={password}"),
            ],
            env=dict(self.environment()),
            cwd=self.directory,
            capture_output=True,
            check=False,
            **self._as_account(),
        )
        password.unlink()
        if done.returncode:
            raise ServiceFailed(f"initdb: {done.stderr.decode(errors='replace').strip()}")


# --- RabbitMQ ------------------------------------------------------------------------------


class RabbitMQ(Server):
    """A node of its own: name, cookie, epmd and ports, on loopback; TLS alone when asked for.

    `is_ready` means that it answers the AMQP greeting, which it does only when it has recovered
    its queues.
    """

    name = "RabbitMQ"

    def __init__(self, directory: Path, *, tls: bool = False, management: bool = False) -> None:
        super().__init__(directory, Account.choose("rabbitmq"))
        self._program = _find("rabbitmq-server", "usr/lib/rabbitmq/bin/rabbitmq-server")
        self._ctl = _find("rabbitmqctl", "usr/lib/rabbitmq/bin/rabbitmqctl")
        self._epmd_program = _find("epmd", "usr/lib/erlang/erts-*/bin/epmd")
        self._epmd: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.management_port = free_port() if management else None
        self._dist_port = free_port()
        self._epmd_port = free_port()
        self.node = f"referral_{secrets.token_hex(4)}@localhost"
        self.user = "referral"
        self.password = secrets.token_urlsafe(18)
        self.vhost = "/"
        self.certificates = Certificates.make(directory / "tls") if tls else None
        self._write_files()

    @classmethod
    def temporary(cls, *, tls: bool = False, management: bool = False) -> Self:
        """One in a temporary directory that `close` removes."""
        owned = _temporary("rabbitmq")
        return cls(Path(owned.name), tls=tls, management=management)._take_temporary(owned)

    @property
    def host(self) -> str:
        return LOOPBACK

    @property
    def ca_file(self) -> Path | None:
        return self.certificates.ca if self.certificates else None

    @property
    def url(self) -> str:
        scheme = "amqps" if self.certificates else "amqp"
        vhost = quote(self.vhost, safe="")
        return f"{scheme}://{self.user}:{self.password}@{LOOPBACK}:{self.port}/{vhost}"

    @property
    def management_url(self) -> str | None:
        return f"http://{LOOPBACK}:{self.management_port}" if self.management_port else None

    def ctl(self, *arguments: str) -> str:
        """Run `rabbitmqctl` against this node."""
        done = subprocess.run(
            [self._ctl, "-q", "-n", self.node, *arguments],
            env=dict(self.environment()),
            cwd=self.directory,
            capture_output=True,
            check=False,
            timeout=60,
            **self._as_account(),
        )
        if done.returncode:
            raise ServiceFailed(f"rabbitmqctl: {done.stderr.decode(errors='replace').strip()}")
        output: str = done.stdout.decode().strip()
        return output

    def command(self) -> Sequence[str]:
        return [self._program]

    def environment(self) -> Mapping[str, str]:
        home = self.directory / "home"
        interface = "{127,0,0,1}"
        return {
            **super().environment(),
            "HOME": str(home),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(home / "no-rabbitmq-env.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "no-advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(home / "data"),
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_PID_FILE": str(home / "pid"),
            "RABBITMQ_SCHEMA_DIR": str(home / "schema"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(home / "config"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                f"-kernel inet_dist_use_interface {interface} +sbwt none +sbwtdcpu none"
            ),
            # The server script then becomes the node itself instead of a shell above it.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def start(self, *, patience: float = 90) -> None:
        if self._epmd is None or self._epmd.poll() is not None:
            self._epmd = subprocess.Popen(
                [self._epmd_program, "-port", str(self._epmd_port), "-address", LOOPBACK],
                env=dict(self.environment()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                **self._as_account(),
            )
        super().start(patience=patience)

    def is_ready(self) -> bool:
        with contextlib.suppress(OSError):
            raw = socket.create_connection((LOOPBACK, self.port), timeout=2)
            with contextlib.closing(self._wrap(raw)) as connection:
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                return connection.recv(1) == b"\x01"
        return False

    def close(self) -> None:
        # An orderly stop takes seconds and would save data that goes away with the directory.
        self.kill9() if self._owned is not None else self.stop()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait(10)
            self._epmd = None
        super().close()

    def _wrap(self, raw: socket.socket) -> socket.socket:
        if self.certificates is None:
            return raw
        context = ssl.create_default_context(cafile=str(self.certificates.ca))
        return context.wrap_socket(raw, server_hostname=LOOPBACK)

    def _write_files(self) -> None:
        home = self.directory / "home"
        for folder in (home, home / "data", home / "log", home / "schema", home / "config"):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o700)
            self._own(folder)
        self._write(home / ".erlang.cookie", secrets.token_hex(20), mode=0o400)
        plugins = "rabbitmq_management" if self.management_port else ""
        self._write(home / "enabled_plugins", f"[{plugins}].\n")
        self._write(home / "rabbitmq.conf", "\n".join(self._config()) + "\n")
        if self.certificates is not None:
            self._own(self.certificates.key)

    def _write(self, path: Path, text: str, *, mode: int = 0o600) -> None:
        path.unlink(missing_ok=True)
        path.touch(mode=mode | 0o200)
        path.write_text(text)
        path.chmod(mode)
        self._own(path)

    def _config(self) -> Iterator[str]:
        yield f"default_user = {self.user}"
        yield f"default_pass = {self.password}"
        yield "log.console = true"
        yield "log.console.level = warning"
        yield "log.file = false"
        yield "disk_free_limit.absolute = 100MB"
        if self.management_port:
            yield f"management.tcp.ip = {LOOPBACK}"
            yield f"management.tcp.port = {self.management_port}"
        if self.certificates is None:
            yield f"listeners.tcp.1 = {LOOPBACK}:{self.port}"
            return
        yield "listeners.tcp = none"
        yield f"listeners.ssl.1 = {LOOPBACK}:{self.port}"
        yield f"ssl_options.cacertfile = {self.certificates.ca}"
        yield f"ssl_options.certfile = {self.certificates.certificate}"
        yield f"ssl_options.keyfile = {self.certificates.key}"
        yield "ssl_options.versions.1 = tlsv1.3"
        yield "ssl_options.versions.2 = tlsv1.2"


# --- certificates --------------------------------------------------------------------------


@dataclass(frozen=True)
class Certificates:
    """A throw-away authority and one server certificate for loopback, valid for a week."""

    ca: Path
    certificate: Path
    key: Path = field(repr=False)

    @classmethod
    def make(cls, directory: Path) -> Certificates:
        """Write `ca.pem`, `server.pem` and `server-key.pem`; the authority's key is not kept."""
        from ipaddress import ip_address

        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

        def name(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o755)
        start = datetime.now(UTC) - timedelta(minutes=15)
        ca_key, key = (
            ec.generate_private_key(ec.SECP256R1()),
            ec.generate_private_key(ec.SECP256R1()),
        )

        def builder(subject: str, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
            return (
                x509.CertificateBuilder()
                .subject_name(name(subject))
                .issuer_name(name("throw-away authority"))
                .public_key(public)
                .serial_number(x509.random_serial_number())
                .not_valid_before(start)
                .not_valid_after(start + timedelta(days=7))
                .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
                .add_extension(
                    x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()),
                    critical=False,
                )
            )

        signs = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        ca = (
            builder("throw-away authority", ca_key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(signs, critical=True)
            .sign(ca_key, hashes.SHA256())
        )
        names = x509.SubjectAlternativeName(
            [x509.DNSName("localhost"), x509.IPAddress(ip_address(LOOPBACK))]
        )
        server = (
            builder("localhost", key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(names, critical=False)
            .sign(ca_key, hashes.SHA256())
        )
        made = cls(directory / "ca.pem", directory / "server.pem", directory / "server-key.pem")
        made.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
        made.certificate.write_bytes(server.public_bytes(serialization.Encoding.PEM))
        made.key.touch(mode=0o600)
        made.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return made


# --- as a program --------------------------------------------------------------------------


def main() -> int:
    """Start what is named, print one JSON object, and stop it all when standard input closes."""
    parser = argparse.ArgumentParser(
        description="Private PostgreSQL and RabbitMQ until stdin closes."
    )
    parser.add_argument("services", nargs="+", choices=["postgres", "rabbitmq"])
    parser.add_argument("--tls", action="store_true", help="RabbitMQ with TLS alone")
    parser.add_argument("--management", action="store_true", help="RabbitMQ with its HTTP API")
    wanted = parser.parse_args()

    def stop(_number: int, _frame: object) -> None:
        raise SystemExit(0)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    with contextlib.ExitStack() as stack:
        told: dict[str, object] = {}
        try:
            if "postgres" in wanted.services:
                postgres = stack.enter_context(PostgreSQL.temporary())
                told["postgres"] = {
                    "url": postgres.url(),
                    "pid": postgres.pid,
                    "port": postgres.port,
                }
            if "rabbitmq" in wanted.services:
                rabbitmq = stack.enter_context(
                    RabbitMQ.temporary(tls=wanted.tls, management=wanted.management)
                )
                told["rabbitmq"] = {
                    "url": rabbitmq.url,
                    "host": rabbitmq.host,
                    "port": rabbitmq.port,
                    "vhost": rabbitmq.vhost,
                    "user": rabbitmq.user,
                    "password": rabbitmq.password,
                    "ca": str(rabbitmq.ca_file) if rabbitmq.ca_file else None,
                    "management_url": rabbitmq.management_url,
                    "pid": rabbitmq.pid,
                }
        except (ServiceMissing, ServiceFailed) as error:
            sys.stderr.write(f"{error}\n")
            return 1
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
