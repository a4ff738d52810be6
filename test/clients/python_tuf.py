"""Follows a TUF repository with python-tuf: ROOT METADATA_DIR METADATA_URL TARGETS_URL TARGET...

Prints one JSON line: the SHA-256 of each target, or the name of the exception that refused.
"""

import hashlib
import json
import os
import sys

from tuf.api.exceptions import DownloadLengthMismatchError, RepositoryError
from tuf.ngclient import Updater

root, metadata_dir, metadata_url, targets_url, *targets = sys.argv[1:]
target_dir = os.path.join(metadata_dir, "targets")
os.makedirs(target_dir, exist_ok=True)
try:
    with open(root, "rb") as file:
        updater = Updater(metadata_dir, metadata_url, target_dir, targets_url, bootstrap=file.read())
    updater.refresh()
    digests = {}
    for path in targets:
        found = updater.get_targetinfo(path)
        if found is None:
            raise SystemExit(f"no target {path}")
        with open(updater.download_target(found), "rb") as file:
            digests[path] = hashlib.sha256(file.read()).hexdigest()
    print(json.dumps({"targets": digests}))
except (RepositoryError, DownloadLengthMismatchError) as error:
    print(json.dumps({"refused": type(error).__name__}))
