"""The Kubernetes manifests against the schema, and the configurations that they embed."""

import subprocess

import kubernetes_validate
import pytest
import yaml

import testbed

DEPLOY = testbed.TOP / "deploy"
KUSTOMIZATION = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())
KUBERNETES = "1.33"


def resources():
    """Every document of every file that the kustomization names."""
    for name in KUSTOMIZATION["resources"]:
        yield from yaml.safe_load_all((DEPLOY / name).read_text())


def config_maps():
    """Name → {key: file} of the generated ConfigMaps."""
    return {
        entry["name"]: dict(item.split("=") for item in entry["files"])
        for entry in KUSTOMIZATION["configMapGenerator"]
    }


@pytest.mark.parametrize("resource", list(resources()), ids=lambda r: f"{r['kind']}-{r['metadata']['name']}")
def test_manifests_fit_the_schema(resource):
    kubernetes_validate.validate(resource, KUBERNETES, strict=True)


def workloads():
    return [r for r in resources() if r["kind"] in ("Deployment", "StatefulSet")]


@pytest.mark.parametrize("workload", workloads(), ids=lambda w: w["metadata"]["name"])
def test_a_workload_fits_its_surroundings(workload):
    spec = workload["spec"]["template"]["spec"]
    container = spec["containers"][0]
    ports = {port["name"] for port in container["ports"]}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] in ports
    # Every volume is a ConfigMap that is generated, mounted where the arguments look for it.
    for volume in spec["volumes"]:
        files = config_maps()[volume["configMap"]["name"]]
        config = next(arg for arg in container["args"] if arg.startswith("--config="))
        assert config.removeprefix("--config=/etc/tailrace/") in files
    # The grace covers what stops before the kill.
    drain = next(arg for arg in container["args"] if arg.startswith("--shutdown-timeout="))
    drain = int(drain.removeprefix("--shutdown-timeout=").removesuffix("s"))
    grace = spec["terminationGracePeriodSeconds"]
    assert grace >= container["lifecycle"]["preStop"]["sleep"]["seconds"] + drain + 10


def test_services_and_budgets_select_the_pods():
    labels = [w["spec"]["template"]["metadata"]["labels"] for w in workloads()]
    selectors = [r["spec"]["selector"] for r in resources() if r["kind"] == "Service"]
    selectors += [
        r["spec"]["selector"]["matchLabels"]
        for r in resources()
        if r["kind"] == "PodDisruptionBudget"
    ]
    assert len(selectors) == 4
    for selector in selectors:
        assert any(selector.items() <= label.items() for label in labels), selector


def test_the_backends_dns_name_is_the_edges_target():
    service = next(r for r in resources() if r["metadata"]["name"] == "tailrace-backend")
    assert service["spec"]["clusterIP"] == "None"
    edge = next(w for w in workloads() if w["kind"] == "Deployment")
    env = {e["name"]: e.get("value") for e in edge["spec"]["template"]["spec"]["containers"][0]["env"]}
    name, namespace = service["metadata"]["name"], KUSTOMIZATION["namespace"]
    assert env["TAILRACE_BACKEND"] == f"{name}.{namespace}.svc.cluster.local"


@pytest.mark.parametrize("name", list(config_maps()))
def test_embedded_configurations_load(name):
    for key, path in config_maps()[name].items():
        tier = key.removesuffix(".yaml")
        run = subprocess.run(
            [testbed.BINARIES / tier, "validate", "--config", DEPLOY / path],
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stderr
