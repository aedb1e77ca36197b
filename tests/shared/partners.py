"""Two hospitals on loopback that speak to each other over TLS and witness each other's audit trails."""

import json
import pathlib

from harness import Wardroom, free_port


class Partner(Wardroom):
    """One of them. `more` is what its configuration has besides."""

    def __init__(self, binary, directory, name, partner, authority, more):
        self.name, self.kind = name, f"wardroom {name}"
        directory = pathlib.Path(directory)
        directory.mkdir()
        certificate, key = authority.issue(directory.name)
        self.federation = f"""
federation = {{ extra_ca = ["{authority.path}"], deny_ip_ranges = [] }}
audit = {{ checkpoint_seconds = 1, witness_every_seconds = 1, witness_for = ["{partner}"], witnesses = ["{partner}"] }}
"""
        tls = f"""
[[listener]]
address = "127.0.0.1:{name.rpartition(":")[2]}"
tls = {{ cert = "{certificate}", key = "{key}" }}
serves = {json.dumps(["client", "federation", "media"])}
"""
        super().__init__(binary, directory, ["client", "media", "admin", "fhir"], more + tls)


def partners(binary, directory, authority, more=""):
    """Both, not yet started."""
    names = f"127.0.0.1:{free_port()}", f"localhost:{free_port()}"
    both = zip("ab", names, reversed(names))
    return [Partner(binary, pathlib.Path(directory) / where, name, other, authority, more) for where, name, other in both]
