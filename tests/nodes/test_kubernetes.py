"""What conf/kubernetes has, held against Kubernetes' own schemas and against the real service."""

import http.server
import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from ipquery import open_snapshot
from ipquery.cli import main
from ipquery.config import load
from ipquery.data.snapshot import LAYOUT_VERSION
from tests.certificates import self_signed
from tests.integration.daemon import Daemon
from tests.nodes.front import CONF
from tests.nodes.node import ANSWER, write_database
from tests.serve.http.connection import get

KUBERNETES = CONF / "kubernetes"
OLDEST = "1.27"
"""The version that kustomization.yaml names."""

KUSTOMIZATION = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
OBJECTS = [
    found
    for name in KUSTOMIZATION["resources"]
    for found in yaml.safe_load_all((KUBERNETES / name).read_text())
]
CONFIG = load(KUBERNETES / "ipquery.toml")


def _one(kind: str) -> Any:
    (found,) = [found for found in OBJECTS if found["kind"] == kind]
    return found


DEPLOYMENT = _one("Deployment")
POD = DEPLOYMENT["spec"]["template"]["spec"]
(SERVER,) = POD["containers"]
JOB = _one("CronJob")["spec"]["jobTemplate"]["spec"]
FETCH, BUILD = JOB["template"]["spec"]["initContainers"]
(ROLL_OUT,) = JOB["template"]["spec"]["containers"]
CONTAINERS = {
    container["name"]: (pod, container)
    for pod, containers in (
        (POD, [SERVER]),
        (JOB["template"]["spec"], [FETCH, BUILD, ROLL_OUT]),
    )
    for container in containers
}


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
@pytest.mark.parametrize("manifest", OBJECTS, ids=lambda found: str(found["kind"]))
def test_it_is_what_the_api_takes(manifest: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_a_misspelt_field_would_not_pass() -> None:
    wrong = yaml.safe_load((KUBERNETES / "service.yaml").read_text())
    wrong["spec"]["port"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, OLDEST, strict=True)


def test_every_file_is_applied() -> None:
    generated = [name for one in KUSTOMIZATION["configMapGenerator"] for name in one["files"]]
    there = {path.name for path in KUBERNETES.iterdir() if path.is_file()}
    assert there == {"kustomization.yaml", *KUSTOMIZATION["resources"], *generated}
    assert f"Kubernetes {OLDEST} or later" in (KUBERNETES / "kustomization.yaml").read_text()


def test_every_volume_is_there_and_every_container_has_the_image() -> None:
    maps = {one["name"] for one in KUSTOMIZATION["configMapGenerator"]}
    claim = _one("PersistentVolumeClaim")["metadata"]["name"]
    (image,) = KUSTOMIZATION["images"]
    for pod, container in CONTAINERS.values():
        names = {volume["name"] for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} <= names
        for volume in pod["volumes"]:
            assert volume.get("configMap", {"name": next(iter(maps))})["name"] in maps
            assert volume.get("persistentVolumeClaim", {"claimName": claim})["claimName"] == claim
        assert container["image"] == image["name"]


def test_all_mean_the_same_pods() -> None:
    labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
    selectors = [
        DEPLOYMENT["spec"]["selector"]["matchLabels"],
        _one("Service")["spec"]["selector"],
        _one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        *(one["labelSelector"]["matchLabels"] for one in POD["topologySpreadConstraints"]),
    ]
    assert len(selectors) == 5
    for selector in selectors:
        assert selector == labels
    assert JOB["template"]["metadata"]["labels"] != labels
    target = _one("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert target == {
        "apiVersion": DEPLOYMENT["apiVersion"],
        "kind": "Deployment",
        "name": DEPLOYMENT["metadata"]["name"],
    }


def test_the_service_leads_to_where_the_daemon_listens() -> None:
    (bind,) = CONFIG.binds
    (port,) = SERVER["ports"]
    assert port["containerPort"] == bind.port
    assert not bind.host or bind.host == "0.0.0.0", "kubelet doesn't ask on loopback"
    (service,) = _one("Service")["spec"]["ports"]
    assert (service["port"], service["targetPort"]) == (bind.port, port["name"])
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert SERVER[probe]["httpGet"]["port"] == port["name"]


def test_a_pod_has_time_to_drain() -> None:
    sleep, seconds = SERVER["lifecycle"]["preStop"]["exec"]["command"]
    assert sleep == "sleep"
    # A worker gets 5 s on top of what its callers get.
    needed = int(seconds) + CONFIG.settings.http.drain_seconds + 5
    assert POD["terminationGracePeriodSeconds"] >= needed


def test_as_many_workers_as_cores_are_asked_for() -> None:
    assert str(CONFIG.workers) == SERVER["resources"]["requests"]["cpu"]
    assert "cpu" not in SERVER["resources"]["limits"]


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers_can_do_no_more_than_they_need(name: str) -> None:
    pod, container = CONTAINERS[name]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] > 0
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]


def _writable(container: Mapping[str, Any], path: Path) -> bool:
    inside = [
        mount for mount in container["volumeMounts"] if path.is_relative_to(mount["mountPath"])
    ]
    return any(not mount.get("readOnly") for mount in inside)


def test_who_may_write_where() -> None:
    assert _writable(SERVER, CONFIG.cache_dir)
    (database,) = CONFIG.databases
    assert not _writable(SERVER, database.path)
    assert _writable(BUILD, database.path)
    for _, container in CONTAINERS.values():
        assert not _writable(container, Path("/etc/ipquery"))


def test_the_job_builds_what_the_pods_read() -> None:
    (database,) = CONFIG.databases
    assert database.path == Path(f"/var/lib/ipquery/layout-{LAYOUT_VERSION}.ipq")
    assert ROLL_OUT["command"][2:] == [DEPLOYMENT["metadata"]["name"], str(database.path)]
    build = _parsed(BUILD["command"])
    assert build["out"] == database.path
    assert build["config_path"] == Path("/etc/ipquery/update.toml")
    fetch = _parsed(FETCH["command"])
    assert fetch["recipes"] == ("default",)
    # Where a name such as `default` is looked for.
    assert {"name": "STATE_DIRECTORY", "value": str(fetch["folder"])} in BUILD["env"]
    limits = load(KUBERNETES / "update.toml").build_limits
    assert f"{limits.memory >> 20}Mi" != BUILD["resources"]["limits"]["memory"]
    assert limits.memory < int(BUILD["resources"]["limits"]["memory"].removesuffix("Gi")) << 30
    assert limits.seconds < JOB["activeDeadlineSeconds"]


def _parsed(command: list[str]) -> dict[str, Any]:
    """What the real command understands."""
    program, name, *arguments = command
    assert program == "ipquery"
    with main.commands[name].make_context(name, arguments) as context:
        return context.params


def test_the_job_may_change_the_deployment_and_nothing_else() -> None:
    account = JOB["template"]["spec"]["serviceAccountName"]
    assert _one("ServiceAccount")["metadata"]["name"] == account
    (subject,) = _one("RoleBinding")["subjects"]
    assert subject == {"kind": "ServiceAccount", "name": account}
    assert _one("RoleBinding")["roleRef"]["name"] == _one("Role")["metadata"]["name"]
    assert _one("Role")["rules"] == [
        {
            "apiGroups": ["apps"],
            "resources": ["deployments"],
            "resourceNames": [DEPLOYMENT["metadata"]["name"]],
            "verbs": ["patch"],
        }
    ]


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the job leaves in the volume, of a database of a few bytes."""
    folder = tmp_path_factory.mktemp("volume")
    database = write_database(folder / "db.xdb")
    (database_path,) = [source.path for source in CONFIG.databases]
    out = folder / database_path.name
    with main.commands["build"].make_context("build", ["-o", str(out), str(database)]) as context:
        main.commands["build"].invoke(context)
    return out


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, snapshot: Path) -> Iterator[Daemon]:
    """The daemon with the configuration of its pods."""
    folder = tmp_path_factory.mktemp("pod")
    cache = folder / "cache"
    cache.mkdir()
    # As Kubernetes makes an emptyDir.
    cache.chmod(0o777)
    text = (KUBERNETES / "ipquery.toml").read_text()
    for before, after in {
        str(CONFIG.cache_dir.parent): str(cache),
        str(CONFIG.databases[0].path.parent): str(snapshot.parent),
    }.items():
        assert before in text
        text = text.replace(before, after)
    (folder / "ipquery.toml").write_text(text)
    with Daemon(folder, "--config", folder / "ipquery.toml") as running:
        yield running.wait_until_up()


def test_the_pods_configuration_serves_what_the_job_built(daemon: Daemon) -> None:
    assert daemon.ask(get("/api/ip_query?ip=1.2.3.4")).body == ANSWER


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_the_service_passes_the_probe(daemon: Daemon, probe: str) -> None:
    assert daemon.ask(get(SERVER[probe]["httpGet"]["path"])).status == 200


class _Api(http.server.BaseHTTPRequestHandler):
    """Kubernetes' API, as far as the job asks it."""

    asked: list[tuple[str, Mapping[str, str], Any]]
    status = 200

    def do_PATCH(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).asked.append((self.path, dict(self.headers), json.loads(body)))
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(b'{"message":"so it is"}')

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def api(tmp_path: Path) -> Iterator[type[_Api]]:
    """Its port is in the environment, and the account that pods get in ``tmp_path``."""

    class Api(_Api):
        asked: list[tuple[str, Mapping[str, str], Any]] = []  # noqa: RUF012 # of one test

    certificate, key = self_signed(tmp_path, "localhost")
    (tmp_path / "ca.crt").write_bytes(certificate.read_bytes())
    (tmp_path / "token").write_text("a-token\n")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = http.server.HTTPServer(("127.0.0.1", 0), Api)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    (tmp_path / "port").write_text(str(server.server_port))
    yield Api
    server.shutdown()
    thread.join()
    server.server_close()


def _roll_out(folder: Path, snapshot: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, KUBERNETES / "roll_out.py", "ipquery", snapshot],
        env={
            **os.environ,
            "ACCOUNT": str(folder),
            "NAMESPACE": "here",
            "KUBERNETES_SERVICE_HOST": "localhost",
            "KUBERNETES_SERVICE_PORT_HTTPS": (folder / "port").read_text(),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_new_snapshot_is_rolled_out(tmp_path: Path, api: type[_Api], snapshot: Path) -> None:
    done = _roll_out(tmp_path, snapshot)
    with open_snapshot(snapshot) as opened:
        identity = opened.identity
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"ipquery: answers from snapshot {identity}\n"
    ((path, headers, body),) = api.asked
    assert path == "/apis/apps/v1/namespaces/here/deployments/ipquery"
    assert headers["Authorization"] == "Bearer a-token"
    assert headers["Content-Type"] == "application/strategic-merge-patch+json"
    annotations = {"ipquery/snapshot": identity}
    assert body == {"spec": {"template": {"metadata": {"annotations": annotations}}}}
    # It makes a Deployment that the API takes.
    patched = {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"]}}
    patched["spec"]["template"] = {
        "metadata": {**DEPLOYMENT["spec"]["template"]["metadata"], "annotations": annotations},
        "spec": POD,
    }
    kubernetes_validate.validate(patched, OLDEST, strict=True)


def test_a_damaged_snapshot_is_not(tmp_path: Path, api: type[_Api], snapshot: Path) -> None:
    damaged = tmp_path / "damaged.ipq"
    damaged.write_bytes(snapshot.read_bytes()[:-1])
    done = _roll_out(tmp_path, damaged)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert api.asked == []


def test_a_refusal_is_told_in_a_line(tmp_path: Path, api: type[_Api], snapshot: Path) -> None:
    api.status = 403
    done = _roll_out(tmp_path, snapshot)
    assert done.returncode == 1
    assert "403" in done.stderr
    assert "so it is" in done.stderr
    assert len(done.stderr.splitlines()) == 1
