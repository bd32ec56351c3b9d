"""Mosquitto: MQTT v5 over TLS, one certificate per gateway, each confined to its own two topics.

The certificate's name is user name and client id at once, so nobody signs in as another, and nobody can take over
the bridge's session and its queue. What mosquitto acknowledges it may still lose (what it keeps is up to
`autosave_interval` seconds old); that is harmless because a gateway deletes a reading only on *our* acknowledgement.
"""

import re
import signal
import socket
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.native import unprivileged
from deploy.native.certificates import BRIDGE, Authority
from deploy.native.processes import NotReadyError, Processes, until
from deploy.native.progress import Say

NAME = "mosquitto"
CERTIFICATES = ("ca.crt", "server.crt", "server.key", "crl.pem")
UNREADABLE = "Couldn't open database"

CONFIGURATION = """\
per_listener_settings false
listener {port} 127.0.0.1
cafile {folder}/ca.crt
certfile {folder}/server.crt
keyfile {folder}/server.key
crlfile {folder}/crl.pem
require_certificate true
use_identity_as_username true
use_username_as_clientid true
tls_version tlsv1.2
allow_anonymous false
acl_file {folder}/acl
persistence true
persistence_location {folder}/
# Every 30 s, not every n changes: each save writes the whole queue, so counting changes costs the square of a
# backlog (20,000 waiting messages: 24 us each at 1,000 changes, 98 at 100, 15 by time).
autosave_on_changes false
autosave_interval 30
# Whichever comes first; what is turned away then, the gateways still have: they forget at ingest's own answer only.
max_queued_messages 200000
max_queued_bytes 536870912
# Wide, because the window costs 1.4x of throughput when narrow and guards nothing: what is sent and not yet
# acknowledged is sent again after a crash, and ingest names the window it wants (receive maximum) for itself.
max_inflight_messages 1000
set_tcp_nodelay true
max_packet_size 65536
persistent_client_expiration 30d
max_keepalive 60
retain_available false
sys_interval 10
log_dest stderr
log_type error
log_type warning
log_type notice
connection_messages false
"""

ACCESS = f"""\
pattern write v1/%u/#
pattern read ack/%u/#

user {BRIDGE}
topic read v1/#
topic write ack/#
topic read $SYS/broker/publish/messages/dropped
topic read $SYS/broker/version
"""


class Mosquitto:
    """The broker of `folder`, run by `processes` on `port`, trusting what `authority` signs."""

    def __init__(
        self, folder: Path, program: Path, port: int, processes: Processes, authority: Authority
    ) -> None:
        self.folder = folder
        self._program = program
        self._port = port
        self._processes = processes
        self._authority = authority

    def start(self, say: Say) -> None:
        """Write its configuration and wait until it listens.

        A save that met a full disk leaves half a file, with which the broker does not start again: it is put aside.
        What was in it the gateways still have.
        """
        if self._processes.alive(NAME):
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        (self.folder / "mosquitto.conf").write_text(CONFIGURATION.format(folder=self.folder, port=self._port))
        acl = self.folder / "acl"
        acl.unlink(missing_ok=True)
        acl.write_text(ACCESS)
        acl.chmod(0o600)
        self._take_certificates()
        unprivileged.own(self.folder)
        try:
            self._launch(say)
        except NotReadyError:
            memory = self.folder / "mosquitto.db"
            if UNREADABLE not in self._processes.tail(NAME) or not memory.exists():
                raise
            say(f"  {memory} cannot be read; it is put aside, and the gateways send again")
            memory.replace(memory.with_suffix(".broken"))
            self._launch(say)

    def _launch(self, say: Say) -> None:
        command: list[str | Path] = [
            *unprivileged.prefix(),
            self._program,
            "-c",
            self.folder / "mosquitto.conf",
        ]
        self._processes.start(NAME, command, env={"PATH": "/usr/bin:/bin"}, cwd=self.folder)
        until(
            self.answers,
            what="Mosquitto",
            within=20,
            say=say,
            alive=lambda: self._processes.alive(NAME) is not None,
            tail=lambda: self._processes.tail(NAME),
        )

    def reload(self) -> None:
        """Read the revocation list again; connections that are open stay open."""
        self._take_certificates()
        self._processes.send(NAME, signal.SIGHUP)

    def answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self._port), timeout=1):
            return True

    def stop(self) -> None:
        self._processes.stop(NAME, within=10)

    def version(self) -> str:
        said = subprocess.run([self._program, "-h"], capture_output=True, text=True, check=False).stdout
        match = re.search(r"version ([\d.]+)", said)
        return match[1] if match else "?"

    def _take_certificates(self) -> None:
        """Each file is exchanged whole: a broker that reads while we write would find half of one, and let nobody in."""
        with TemporaryDirectory(dir=self.folder) as fresh:
            for name in CERTIFICATES:
                copy = Path(fresh, name)
                copy.touch(mode=0o600)
                copy.write_bytes((self._authority.folder / name).read_bytes())
            unprivileged.own(Path(fresh))
            for name in CERTIFICATES:
                Path(fresh, name).replace(self.folder / name)
