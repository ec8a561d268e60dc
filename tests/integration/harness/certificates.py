"""A certificate authority made for one test run, and the certificates that must and must not verify."""

import os
import subprocess

from . import process

CONFIG = """
[ca]
default_ca = test
[test]
dir = {directory}
database = {directory}/index.txt
new_certs_dir = {directory}
serial = {directory}/serial
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
"""


def _openssl(*args):
    done = subprocess.run(["openssl", *args], capture_output=True, env=process.clean_environment())
    assert done.returncode == 0, f"openssl {' '.join(args)}: {done.stderr.decode()}"


class Certificates:
    """ca, and pairs of (certificate, key): valid, name_only, wrong_host, expired, self_signed."""

    def __init__(self, directory):
        self.directory = os.path.join(directory, "ca")
        os.mkdir(self.directory)
        self.ca = self._path("ca.pem")
        self._write("index.txt", "")
        self._write("serial", "01\n")
        self._write("ca.cnf", CONFIG.format(directory=self.directory))
        self._self_signed("ca", "/CN=pppctl test CA", "basicConstraints=critical,CA:TRUE")
        self.valid = self._issue("valid", "DNS:localhost,IP:127.0.0.1", ["-days", "2"])
        self.name_only = self._issue("name-only", "DNS:localhost", ["-days", "2"])
        self.wrong_host = self._issue("wrong-host", "DNS:elsewhere.example", ["-days", "2"])
        self.expired = self._issue("expired", "DNS:localhost,IP:127.0.0.1",
                                   ["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"])
        self.self_signed = self._self_signed("self-signed", "/CN=localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1")

    def _path(self, name):
        return os.path.join(self.directory, name)

    def _write(self, name, text):
        with open(self._path(name), "w") as file:
            file.write(text)

    def _self_signed(self, name, subject, extension):
        pair = self._path(name + ".pem"), self._path(name + ".key")
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                 "-subj", subject, "-addext", extension, "-out", pair[0], "-keyout", pair[1])
        return pair

    def _issue(self, name, alternatives, validity):
        certificate, key, request = (self._path(name + end) for end in (".pem", ".key", ".csr"))
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                 "-addext", f"subjectAltName={alternatives}", "-out", request, "-keyout", key)
        _openssl("ca", "-batch", "-notext", "-config", self._path("ca.cnf"), "-cert", self.ca,
                 "-keyfile", self._path("ca.key"), "-in", request, "-out", certificate, *validity)
        return certificate, key
