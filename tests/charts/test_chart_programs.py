"""The two Deployments, the Service and their guards, as the chart renders them."""

import pytest

from tests.charts.rendering import Helm, Object, Rendered
from torpor.controller.seen import Seen
from torpor.manifests import names
from torpor.settings.programs import ControllerSettings, GatewaySettings

PROGRAMS = ["controller", "gateway"]


def deployment(rendered: Rendered, program: str) -> Object:
    return rendered.one("Deployment", f"torpor-{program}")


@pytest.mark.parametrize("program", PROGRAMS)
def test_two_of_each_program_run(installed: Rendered, program: str) -> None:
    assert deployment(installed, program)["spec"]["replicas"] == 2


@pytest.mark.parametrize("program", PROGRAMS)
def test_pods_satisfy_the_restricted_pod_security_standard(
    installed: Rendered, program: str
) -> None:
    spec = installed.pod(program)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 65532
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["enableServiceLinks"] is False
    assert not [key for key in ("hostNetwork", "hostPID", "hostIPC", "volumes") if spec.get(key)]
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_container_states_what_it_needs(installed: Rendered, program: str) -> None:
    resources = installed.pod(program)["containers"][0]["resources"]
    assert {"cpu", "memory"} <= set(resources["requests"])
    assert "memory" in resources["limits"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_selectors_hold_only_labels_that_never_change(installed: Rendered, program: str) -> None:
    selected = deployment(installed, program)["spec"]["selector"]["matchLabels"]
    assert selected == {"app.kubernetes.io/name": "torpor", "app.kubernetes.io/component": program}
    labels = deployment(installed, program)["spec"]["template"]["metadata"]["labels"]
    assert selected.items() <= labels.items()
    assert (
        installed.one("PodDisruptionBudget", f"torpor-{program}")["spec"]["selector"]["matchLabels"]
        == selected
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_replicas_are_spread_softly(installed: Rendered, program: str) -> None:
    spread = installed.pod(program)["topologySpreadConstraints"]
    assert {c["whenUnsatisfiable"] for c in spread} == {"ScheduleAnyway"}
    assert {c["topologyKey"] for c in spread} == {
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    }


@pytest.mark.parametrize("program", PROGRAMS)
def test_probes_name_ports_that_exist(installed: Rendered, program: str) -> None:
    container = installed.pod(program)["containers"][0]
    ports = {p["name"] for p in container["ports"]}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] in ports


def test_the_service_leads_clients_to_the_gateways_and_not_to_their_inner_port(
    installed: Rendered,
) -> None:
    service = installed.one("Service", "torpor-gateway")["spec"]
    labels = deployment(installed, "gateway")["spec"]["template"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()
    assert [(p["name"], p["port"], p["targetPort"]) for p in service["ports"]] == [
        ("http", 80, "http")
    ]


def test_clients_outside_get_a_port_of_their_own_where_that_is_wanted(
    installed: Rendered, helm: Helm
) -> None:
    assert {o["metadata"]["name"] for o in installed.all("Service")} == {"torpor-gateway"}
    assert "external" not in {p["name"] for p in container_of(installed)["ports"]}
    wanted = ("gateway.external.enabled=true", "gateway.external.type=LoadBalancer")
    rendered = helm.render(*wanted)
    service = rendered.one("Service", "torpor-gateway-external")["spec"]
    container = container_of(rendered)
    ports = {p["name"]: p["containerPort"] for p in container["ports"]}
    env = {e["name"]: e.get("value") for e in container["env"]}
    assert service["type"] == "LoadBalancer"
    assert service["ports"][0]["targetPort"] == "external"
    assert env["TORPOR_GATEWAY_EXTERNAL_PORT"] == str(ports["external"])


def container_of(rendered: Rendered) -> Object:
    found: Object = rendered.pod("gateway")["containers"][0]
    return found


def test_the_controller_finds_the_gateways_by_the_labels_the_chart_gives_them(
    installed: Rendered,
) -> None:
    labels = deployment(installed, "gateway")["spec"]["template"]["metadata"]["labels"]
    assert labels[names.PART_OF] == names.PART_OF_TORPOR
    running = {"phase": "Running", "podIP": "10.0.0.7"}
    seen = Seen("torpor-system")
    for namespace in ("torpor-system", "elsewhere"):
        for component in PROGRAMS:
            own = deployment(installed, component)["spec"]["template"]["metadata"]["labels"]
            name = f"{component}-{namespace}"
            about = {"uid": name, "namespace": namespace, "name": name, "labels": own}
            seen.take_pod({"metadata": about, "status": running}, deleted=False, now_ms=0)
    assert [pod["metadata"]["name"] for pod in seen.gateway_pods(0)] == ["gateway-torpor-system"]


def test_the_controller_asks_the_gateways_on_the_port_that_they_open(installed: Rendered) -> None:
    ports = {
        p["name"]: p["containerPort"] for p in installed.pod("gateway")["containers"][0]["ports"]
    }
    assert installed.variables("controller")["TORPOR_CONTROLLER_GATEWAY_PORT"] == str(
        ports["internal"]
    )
    assert installed.variables("gateway")["TORPOR_GATEWAY_INTERNAL_PORT"] == str(ports["internal"])


def test_a_gateway_outlives_its_drain_and_grace(helm: Helm) -> None:
    rendered = helm.render("gateway.drainDelaySeconds=7", "gateway.graceSeconds=120")
    environment = rendered.variables("gateway")
    assert environment["TORPOR_GATEWAY_DRAIN_DELAY"] == "7"
    assert environment["TORPOR_GATEWAY_DRAIN_GRACE"] == "120"
    assert rendered.pod("gateway")["terminationGracePeriodSeconds"] == 137


def test_the_access_log_is_off_unless_it_is_asked_for(installed: Rendered, helm: Helm) -> None:
    assert installed.variables("gateway")["TORPOR_GATEWAY_ACCESS_LOG"] == "false"
    asked = helm.render("gateway.accessLog=true")
    assert asked.variables("gateway")["TORPOR_GATEWAY_ACCESS_LOG"] == "true"


def test_prewarm_pods_get_the_image_of_the_release(helm: Helm) -> None:
    rendered = helm.render(
        "image.repository=mirror/torpor", "image.tag=t1", "image.pullPolicy=Never"
    )
    environment = rendered.variables("controller")
    assert environment["TORPOR_CONTROLLER_IMAGE"] == "mirror/torpor:t1"
    assert environment["TORPOR_CONTROLLER_IMAGE_PULL_POLICY"] == "Never"
    for program in PROGRAMS:
        container = rendered.pod(program)["containers"][0]
        assert (container["image"], container["imagePullPolicy"]) == ("mirror/torpor:t1", "Never")


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ([], "http://torpor-gateway.models.svc/v1"),
        (["gateway.service.port=8000"], "http://torpor-gateway.models.svc:8000/v1"),
        (["gateway.url=https://ai.example.com/v1"], "https://ai.example.com/v1"),
    ],
    ids=["the Service's own", "another port", "an Ingress"],
)
def test_status_shows_a_url_that_clients_can_use(helm: Helm, values: list[str], url: str) -> None:
    rendered = helm.render(*values, namespace="models")
    assert rendered.variables("controller")["TORPOR_CONTROLLER_GATEWAY_URL"] == url


def test_a_users_environment_comes_last_and_wins(helm: Helm) -> None:
    rendered = helm.render(json='gateway.env=[{"name":"TORPOR_GATEWAY_LOG_LEVEL","value":"DEBUG"}]')
    assert rendered.variables("gateway")["TORPOR_GATEWAY_LOG_LEVEL"] == "DEBUG"


def test_node_choice_and_pull_secrets_reach_the_pods(helm: Helm) -> None:
    rendered = helm.render(
        "imagePullSecrets[0].name=registry",
        "gateway.nodeSelector.pool=cpu",
        "gateway.priorityClassName=system-cluster-critical",
    )
    assert rendered.pod("gateway")["nodeSelector"] == {"pool": "cpu"}
    assert rendered.pod("gateway")["priorityClassName"] == "system-cluster-critical"
    assert "nodeSelector" not in rendered.pod("controller")
    for program in PROGRAMS:
        assert rendered.pod(program)["imagePullSecrets"] == [{"name": "registry"}]


def test_monitors_and_policies_are_off_until_asked_for(installed: Rendered, helm: Helm) -> None:
    kinds = {o["kind"] for o in installed}
    assert not kinds & {"PodMonitor", "ServiceMonitor", "NetworkPolicy"}
    more = helm.render("podMonitor.enabled=true", "networkPolicy.enabled=true")
    assert len(more.all("PodMonitor")) == 2
    assert len(more.all("NetworkPolicy")) == 2


def test_a_closed_gateway_still_answers_clients_and_the_controller(helm: Helm) -> None:
    policy = helm.render("networkPolicy.enabled=true").one("NetworkPolicy", "torpor-gateway")[
        "spec"
    ]
    by_port = {rule["ports"][0]["port"]: rule for rule in policy["ingress"]}
    assert "from" not in by_port["http"]
    assert by_port["internal"]["from"] == [
        {
            "podSelector": {
                "matchLabels": {
                    "app.kubernetes.io/name": "torpor",
                    "app.kubernetes.io/component": "controller",
                }
            }
        }
    ]


def test_everything_stands_in_the_releases_namespace(helm: Helm) -> None:
    cluster_wide = {"ClusterRole", "ClusterRoleBinding", "GPUClass", "CustomResourceDefinition"}
    for o in helm.render(
        "networkPolicy.enabled=true", "podMonitor.enabled=true", namespace="models"
    ):
        if o["kind"] not in cluster_wide:
            assert o["metadata"]["namespace"] == "models", (o["kind"], o["metadata"]["name"])


def test_the_chart_and_the_code_agree_on_the_api_group(installed: Rendered) -> None:
    assert {o["apiVersion"] for o in installed.all("GPUClass")} == {names.API_VERSION}


@pytest.mark.parametrize(
    ("program", "settings"),
    [("controller", ControllerSettings), ("gateway", GatewaySettings)],
    ids=PROGRAMS,
)
def test_every_variable_that_the_chart_sets_is_one_that_the_program_reads(
    installed: Rendered,
    monkeypatch: pytest.MonkeyPatch,
    program: str,
    settings: type[ControllerSettings] | type[GatewaySettings],
) -> None:
    prefix = f"TORPOR_{program.upper()}_"
    for name, value in installed.variables(program).items():
        assert name.removeprefix(prefix).lower() in settings.model_fields, name
        monkeypatch.setenv(name, value if isinstance(value, str) else "from-the-pod")
    read = settings()
    assert read.pod_name == "from-the-pod"
    assert read.port == installed.pod(program)["containers"][0]["ports"][0]["containerPort"]
