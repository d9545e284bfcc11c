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


COMPONENT = DEPLOY / "components/k8s-resolver"


def of_component(name):
    """The documents of a file of the component."""
    return list(yaml.safe_load_all((COMPONENT / name).read_text()))


def edge_with_component():
    """The edge's Deployment, patched as the component does."""
    edge = next(r for r in resources() if r["kind"] == "Deployment")
    component = of_component("kustomization.yaml")[0]
    (patch,) = component["patches"]
    assert patch["target"] == {"kind": edge["kind"], "name": edge["metadata"]["name"]}
    for operation in of_component(patch["path"])[0]:
        *parents, last = operation["path"].strip("/").split("/")
        place = edge
        for key in parents:
            place = place[int(key) if isinstance(place, list) else key]
        if last == "-":
            place.append(operation["value"])
        else:
            assert (operation["op"] == "replace") == (last in place)
            place[last] = operation["value"]
    return edge


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


@pytest.mark.parametrize("resource", of_component("rbac.yaml") + [edge_with_component()], ids=lambda r: r["kind"])
def test_the_k8s_resolvers_manifests_fit_the_schema(resource):
    kubernetes_validate.validate(resource, KUBERNETES, strict=True)
    assert resource["metadata"]["namespace"] == KUSTOMIZATION["namespace"]


def test_the_k8s_resolver_may_do_what_it_does():
    account, role, binding = of_component("rbac.yaml")
    spec = edge_with_component()["spec"]["template"]["spec"]
    assert spec["serviceAccountName"] == account["metadata"]["name"]
    assert spec["automountServiceAccountToken"] is True
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"][0]["name"] == account["metadata"]["name"]
    (rule,) = role["rules"]
    assert (rule["apiGroups"], rule["resources"]) == (["discovery.k8s.io"], ["endpointslices"])
    assert {"list", "watch"} <= set(rule["verbs"])


def test_the_configuration_of_the_k8s_resolver_loads():
    (container,) = edge_with_component()["spec"]["template"]["spec"]["containers"]
    settings = [arg for arg in container["args"] if arg.startswith("--set=")]
    assert len(settings) == 2
    config = f"--config={DEPLOY / 'config/edge.yaml'}"
    run = subprocess.run(
        [testbed.BINARIES / "edge", "validate", config, *settings],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    service = next(r for r in resources() if r["kind"] == "StatefulSet")["spec"]["serviceName"]
    assert f"service: {service}," in settings[1]
