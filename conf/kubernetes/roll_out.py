"""Has a Deployment take over a snapshot: `python3 roll_out.py DEPLOYMENT SNAPSHOT`.

Runs in a pod. It writes the snapshot's identity into the pod template, and Kubernetes
replaces the pods one by one. The identity is that of the content: where answers are as they
were, the template is, too, and nothing happens.
"""

import json
import os
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path

from ipquery import DataError, open_snapshot

# What Kubernetes mounts into each pod with a service account.
ACCOUNT = Path(os.environ.get("ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount"))


def _patch(deployment: str, identity: str) -> urllib.request.Request:
    host, port = (os.environ[f"KUBERNETES_SERVICE_{name}"] for name in ("HOST", "PORT_HTTPS"))
    host = f"[{host}]" if ":" in host else host
    path = f"apis/apps/v1/namespaces/{os.environ['NAMESPACE']}/deployments/{deployment}"
    annotations = {"ipquery/snapshot": identity}
    template = {"metadata": {"annotations": annotations}}
    return urllib.request.Request(
        f"https://{host}:{port}/{path}",
        json.dumps({"spec": {"template": template}}).encode(),
        {
            "Authorization": f"Bearer {(ACCOUNT / 'token').read_text().strip()}",
            "Content-Type": "application/strategic-merge-patch+json",
        },
        method="PATCH",
    )


def main(deployment: str, snapshot: str) -> None:
    """:raises SystemExit: the snapshot can't be used, or the cluster won't have it."""
    try:
        with open_snapshot(snapshot) as opened:
            identity = opened.identity
    except (DataError, OSError) as error:
        raise SystemExit(f"{snapshot}: {error}") from None
    trusted = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    try:
        with urllib.request.urlopen(  # noqa: S310 # https, as written above
            _patch(deployment, identity), timeout=30, context=trusted
        ):
            pass
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{deployment}: {error}: {error.read(500)!r}") from None
    except OSError as error:
        raise SystemExit(f"{deployment}: the cluster can't be asked: {error}") from None
    print(f"{deployment}: answers from snapshot {identity}")


if __name__ == "__main__":
    main(*sys.argv[1:])
