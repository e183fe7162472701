"""A private RabbitMQ node: name, cookie, epmd and ports of its own, with or without TLS."""

from __future__ import annotations

import contextlib
import secrets
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import quote

from deploy.dev.certificates import Certificates
from deploy.dev.server import (
    LOOPBACK,
    Account,
    Server,
    ServiceFailed,
    find_program,
    free_port,
    temporary,
)


def _new_name() -> str:
    return f"referral_{secrets.token_hex(4)}@localhost"


@dataclass
class Peers:
    """What the nodes of one cluster share: names, cookie, password, and where names are asked for."""

    nodes: tuple[str, ...]
    cookie: str = field(default_factory=lambda: secrets.token_hex(20), repr=False)
    password: str = field(default_factory=lambda: secrets.token_urlsafe(18), repr=False)
    epmd_port: int = field(default_factory=free_port)
    _taken: int = 0

    def take(self) -> str:
        """The name of the next node."""
        self._taken += 1
        return self.nodes[self._taken - 1]


class RabbitMQ(Server):
    """A node of its own: name, cookie, epmd and ports, on loopback; TLS alone when asked for.

    `is_ready` means that it answers the AMQP greeting, which it does only when it has recovered
    its queues.
    """

    name = "RabbitMQ"

    def __init__(
        self,
        directory: Path,
        *,
        tls: bool = False,
        management: bool = False,
        peers: Peers | None = None,
    ) -> None:
        super().__init__(directory, Account.choose("rabbitmq"))
        self._program = find_program("rabbitmq-server", "usr/lib/rabbitmq/bin/rabbitmq-server")
        self._ctl = find_program("rabbitmqctl", "usr/lib/rabbitmq/bin/rabbitmqctl")
        self._epmd_program = find_program("epmd", "usr/lib/erlang/erts-*/bin/epmd")
        self._epmd: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.management_port = free_port() if management else None
        self._dist_port = free_port()
        self._epmd_port = peers.epmd_port if peers else free_port()
        self._peers = peers
        self.node = peers.take() if peers else _new_name()
        self.user = "referral"
        self.password = peers.password if peers else secrets.token_urlsafe(18)
        self.vhost = "/"
        self.certificates = Certificates.make(directory / "tls") if tls else None
        self._write_files()

    @classmethod
    def temporary(cls, *, tls: bool = False, management: bool = False) -> Self:
        """One in a temporary directory that `close` removes."""
        owned = temporary("rabbitmq")
        return cls(Path(owned.name), tls=tls, management=management).take_temporary(owned)

    @classmethod
    @contextlib.contextmanager
    def cluster(cls, size: int = 3) -> Iterator[list[Self]]:
        """So many nodes that have found each other, all serving. Any of them may be killed."""
        peers = Peers(tuple(_new_name() for _ in range(size)))
        with contextlib.ExitStack() as stack, ThreadPoolExecutor(size) as pool:
            nodes = []
            for _ in peers.nodes:
                owned = temporary("rabbitmq")
                node = cls(Path(owned.name), peers=peers).take_temporary(owned)
                stack.callback(node.close)
                nodes.append(node)
            nodes[0].start_epmd()
            list(pool.map(cls.start, nodes))
            yield nodes

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
            **self.as_account(),
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
        if self._peers is None:
            self.start_epmd()
        super().start(patience=patience)

    def start_epmd(self) -> None:
        """Start the name server of this node, or of its whole cluster, unless it runs."""
        if self._epmd is None or self._epmd.poll() is not None:
            self._epmd = subprocess.Popen(
                [self._epmd_program, "-port", str(self._epmd_port), "-address", LOOPBACK],
                env=dict(self.environment()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                **self.as_account(),
            )

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
            self.own(folder)
        cookie = self._peers.cookie if self._peers else secrets.token_hex(20)
        self._write(home / ".erlang.cookie", cookie, mode=0o400)
        plugins = "rabbitmq_management" if self.management_port else ""
        self._write(home / "enabled_plugins", f"[{plugins}].\n")
        self._write(home / "rabbitmq.conf", "\n".join(self._config()) + "\n")
        if self.certificates is not None:
            self.own(self.certificates.key)

    def _write(self, path: Path, text: str, *, mode: int = 0o600) -> None:
        path.unlink(missing_ok=True)
        path.touch(mode=mode | 0o200)
        path.write_text(text)
        path.chmod(mode)
        self.own(path)

    def _config(self) -> Iterator[str]:
        yield f"default_user = {self.user}"
        yield f"default_pass = {self.password}"
        yield "log.console = true"
        yield "log.console.level = warning"
        yield "log.file = false"
        yield "disk_free_limit.absolute = 100MB"
        if self._peers is not None:
            yield "cluster_formation.peer_discovery_backend = classic_config"
            for number, node in enumerate(self._peers.nodes, start=1):
                yield f"cluster_formation.classic_config.nodes.{number} = {node}"
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
