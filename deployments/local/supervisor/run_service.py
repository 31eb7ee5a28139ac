"""Starts a service of the stack: reads its command from a private file, then becomes that command.

The file exists because a supervisor's configuration cannot represent every value of an argument or
a variable, and because the service must receive only the given environment.
Imports only the standard library, since it is run as a script before each service.
"""

from __future__ import annotations

import json
import os
import pwd
import sys


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        spec = json.load(file)
    if spec["user"] is not None:
        account = pwd.getpwnam(spec["user"])
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    os.chdir(spec["directory"])
    try:
        os.execvpe(spec["command"][0], spec["command"], spec["environment"])  # noqa: S606
    except OSError as error:
        sys.exit(f"{spec['command'][0]} cannot be run: {error.strerror}")


if __name__ == "__main__":
    main()
