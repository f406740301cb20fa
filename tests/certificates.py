"""Certificates for tests, made by the openssl command: an authority, and what it signs."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

_KEYS = {"ec": "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1", "rsa": "-newkey rsa:2048"}
_KEY = _KEYS["ec"]


@dataclass(frozen=True)
class Signed:
    """A certificate and its key, in PEM."""

    certificate: bytes
    key: bytes

    @property
    def der(self) -> bytes:
        """The certificate as a peer sees it."""
        return ssl.PEM_cert_to_DER_cert(self.certificate.decode())


class Authority:
    """An authority in a directory of its own, which is made."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._serial = 0
        directory.mkdir()
        self._openssl(f"req -x509 {_KEY} -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.crt")
        self.certificate = (directory / "ca.crt").read_bytes()

    def sign(
        self,
        *,
        names: str = "IP:127.0.0.1,DNS:localhost",
        days: int = 2,
        algorithm: str = "ec",
        passphrase: str | None = None,
    ) -> Signed:
        """A server's certificate for these names; with negative days it has expired."""
        self._serial += 1
        secret = "-nodes" if passphrase is None else f"-passout pass:{passphrase}"
        self._openssl(f"req {_KEYS[algorithm]} {secret} -subj /CN=server -keyout server.key -out server.csr")
        (self._directory / "extensions").write_text(
            f"subjectAltName={names}\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n"
        )
        signer = f"-CA ca.crt -CAkey ca.key -set_serial {self._serial} -extfile extensions"
        self._openssl(f"x509 -req -in server.csr {signer} -days {days} -out server.crt")
        return self._made("server")

    def self_signed(self) -> Signed:
        """A certificate that nobody but its own key has signed."""
        names = "-addext subjectAltName=IP:127.0.0.1"
        self._openssl(
            f"req -x509 {_KEY} -nodes -days 2 -subj /CN=server {names} -keyout own.key -out own.crt"
        )
        return self._made("own")

    def _made(self, name: str) -> Signed:
        return Signed(*((self._directory / f"{name}.{kind}").read_bytes() for kind in ("crt", "key")))

    def _openssl(self, command: str) -> None:
        done = subprocess.run(
            ["openssl", *command.split()], cwd=self._directory, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
