"""Alerts and dashboards: queries of metrics that are there, that fire when they should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from bert_tf.export import deployment

yaml = pytest.importorskip("yaml")


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
  path = tmp_path_factory.mktemp("model") / "sst2"
  deployment.write(str(path))
  return path / "serving"


def rules(serving) -> dict[str, dict]:
  groups = yaml.safe_load((serving / "alerts.yml").read_text())["groups"]
  return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def queries(serving) -> list[str]:
  """Of all alerts and all panels."""
  panels = json.loads((serving / "dashboard.json").read_text())["panels"]
  targets = [target["expr"] for panel in panels for target in panel["targets"]]
  return [*(rule["expr"] for rule in rules(serving).values()), *targets]


def promtool(*arguments) -> subprocess.CompletedProcess[str]:
  if not shutil.which("promtool"):
    pytest.skip("needs promtool, which comes with Prometheus")
  return subprocess.run(
    ["promtool", *map(str, arguments)], capture_output=True, text=True, check=False
  )


def test_queries_are_of_metrics_that_the_server_has(serving):
  metrics = pytest.importorskip("bert_tf.serving.metrics", reason="needs the extra serving")
  one = metrics.Metrics(1024)
  observe = one.observer("m")
  observe("s", {"label": np.array([b"a"], object), "truncated": np.array([True])})
  one.count("rest", "GET", "200", 0.1)
  one.set_waiting({"m": 1})
  one.dropped("idle")
  known = set(re.findall(r"^(bert_tf_\w+)", one.text().decode(), re.MULTILINE))
  asked = set(re.findall(r"\bbert_tf_\w+", " ".join(queries(serving))))
  assert len(asked) >= 10 and asked <= known, asked - known
  labels = set(re.findall(r"[{,](\w+)=", one.text().decode()))
  grouped = re.findall(r"by \(([\w, ]+)\)", " ".join(q for q in queries(serving) if "bert_tf" in q))
  assert {name.strip() for group in grouped for name in group.split(",")} <= labels


def test_every_alert_says_what_is_wrong_and_the_document_what_to_do(serving, root):
  document = (root / "docs" / "serving.md").read_text()
  for name, rule in rules(serving).items():
    assert rule["annotations"]["summary"] and rule["labels"]["severity"] in ("page", "ticket")
    assert f"`{name}`" in document, f"docs/serving.md does not say what to do about {name}"


def test_the_panels_fit_beside_each_other(serving):
  dashboard = json.loads((serving / "dashboard.json").read_text())
  places = [panel["gridPos"] for panel in dashboard["panels"]]
  assert dashboard["title"] == "sst2" and len({panel["id"] for panel in dashboard["panels"]}) == 8
  assert len({(p["x"], p["y"]) for p in places}) == 8 and all(p["x"] + p["w"] <= 24 for p in places)


def test_promtool_takes_every_query(serving, tmp_path):
  assert (done := promtool("check", "rules", serving / "alerts.yml")).returncode == 0, done.stderr
  recorded = [{"record": f"q{i}", "expr": query} for i, query in enumerate(queries(serving))]
  path = tmp_path / "queries.yml"
  path.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": recorded}]}))
  assert (done := promtool("check", "rules", path)).returncode == 0, done.stderr
  done = promtool("check", "config", serving / "prometheus.yml")
  assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_fire_when_they_should_and_not_before(serving, tmp_path):
  """Ten hours that are as they should be, and some of each kind that are not."""
  code = 'bert_tf_requests_total{{api="rest",method="POST",code="{}"}}'
  label = 'bert_tf_labels_total{{model="m",label="{}"}}'
  le = 'bert_tf_request_seconds_bucket{{api="rest",le="{}"}}'
  good = {
    code.format(200): "0+1000x{n}", code.format(500): "0+1x{n}", code.format(499): "0+10x{n}",
    le.format("0.5"): "0+1000x{n}", le.format("2.5"): "0+1000x{n}", le.format("+Inf"): "0+1000x{n}",
    label.format("yes"): "0+50x{n}", label.format("no"): "0+50x{n}",
    'bert_tf_waiting_rows{model="m"}': "10+0x{n}", "bert_tf_max_waiting_rows": "1024+0x{n}",
    'bert_tf_texts_total{model="m"}': "0+100x{n}",
    'bert_tf_truncated_texts_total{model="m"}': "0+1x{n}",
    ':tensorflow:serving:request_count{model_name="m",status="OK"}': "0+1000x{n}",
    ':tensorflow:serving:request_count{model_name="m",status="INTERNAL"}': "0+1x{n}",
    ':tensorflow:serving:request_latency_bucket{model_name="m",le="1000"}': "0+99x{n}",
    ':tensorflow:serving:request_latency_bucket{model_name="m",le="10000000"}': "0+100x{n}",
    ':tensorflow:serving:request_latency_bucket{model_name="m",le="+Inf"}': "0+100x{n}",
  }  # fmt: skip
  bad = {
    "BertErrors": {code.format(500): "0+20x{n}"},
    "BertHangUps": {code.format(499): "0+500x{n}"},
    "BertSlow": {le.format("0.5"): "0+900x{n}"},
    "BertQueue": {'bert_tf_waiting_rows{model="m"}': "600+0x{n}"},
    "BertLabelDrift": {label.format("yes"): "0+50x{m} {last}+100x{d}",
                       label.format("no"): "0+50x{m} {last}+0x{d}"},
    "BertTruncatedTexts": {'bert_tf_truncated_texts_total{model="m"}': "0+30x{n}"},
    "ServingErrors": {
      ':tensorflow:serving:request_count{model_name="m",status="INTERNAL"}': "0+20x{n}"},
    "ServingSlow": {
      ':tensorflow:serving:request_latency_bucket{model_name="m",le="1000"}': "0+90x{n}"},
  }  # fmt: skip
  minutes, day = 600, 120
  sizes = {"n": minutes, "m": minutes - day, "d": day, "last": 50 * (minutes - day)}
  names = list(rules(serving))
  assert set(bad) == set(names)

  def case(change: dict[str, str], fires: str | None) -> dict:
    series = {
      name: re.sub(r"\{(n|m|d|last)\}", lambda m: str(sizes[m[1]]), values)
      for name, values in {**good, **change}.items()
    }
    return {
      "interval": "1m",
      "input_series": [{"series": name, "values": values} for name, values in series.items()],
      "promql_expr_test": [
        {
          "expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)',
          "eval_time": f"{minutes}m",
          "exp_samples": [{"labels": "{}", "value": int(name == fires)}],
        }
        for name in names
      ],
    }

  tests = [case({}, None), *(case(change, name) for name, change in bad.items())]
  path = tmp_path / "tests.yml"
  content = {
    "rule_files": [str(serving / "alerts.yml")],
    "evaluation_interval": "10m",
    "tests": tests,
  }
  path.write_text(yaml.safe_dump(content))
  done = promtool("test", "rules", path)
  assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
