"""Several models, versions, labels and rollbacks, with models that cost nothing."""

from __future__ import annotations

import os
import shutil

import pytest
import running_server

pytest.importorskip("aiohttp", reason="needs the extra serving")
pytest.importorskip("tensorflow_serving.apis", reason="needs the extra serving")

import grpc

from bert_tf.errors import UserError
from bert_tf.serving import models
from bert_tf.serving.batching import BatchingOptions
from bert_tf.serving.errors import RequestError
from bert_tf.serving.versions import Policy, VersionManager

NANOSECONDS = 1795226747123456789


@pytest.fixture(scope="module")
def adders(tmp_path_factory):
  """SavedModels that add a number, by that number."""
  import tensorflow as tf

  root = tmp_path_factory.mktemp("adders")

  def save(number: int):
    class Adder(tf.Module):
      @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="x")])
      def add(self, x):
        return {"y": x + number}

    module = Adder()
    signature = module.add.get_concrete_function()
    tf.saved_model.save(module, str(root / str(number)), signatures={"serving_default": signature})
    return root / str(number)

  return {number: save(number) for number in (1, 2, 3)}


@pytest.fixture
def place(adders, tmp_path):
  """Copies an adder to a version of a model."""

  def copy(number: int, version: int, model: str = "m") -> str:
    (tmp_path / model).mkdir(exist_ok=True)
    shutil.copytree(adders[number], tmp_path / model / ".new")
    os.rename(tmp_path / model / ".new", tmp_path / model / str(version))
    return str(tmp_path / model)

  return copy


def served(manager) -> list[int]:
  return [status.version for status in manager.statuses() if status.state == "AVAILABLE"]


@pytest.fixture
def manage():
  made = []

  def make(path: str, **more) -> VersionManager:
    made.append(VersionManager(path, BatchingOptions(num_threads=1), **more))
    return made[-1]

  yield make
  for manager in made:
    manager.close()


def test_where_the_newest_is_removed_the_one_before_is_served_again(place, manage):
  place(1, 1)
  path = place(2, 2)
  manager = manage(path)
  assert served(manager) == [2]
  shutil.rmtree(os.path.join(path, "2"))
  manager.refresh()
  assert served(manager) == [1]
  with pytest.raises(RequestError, match="version 2 is not served"):
    manager.batcher(2)
  place(3, 3)
  manager.refresh()
  assert served(manager) == [3]


def test_the_last_one_is_never_let_go(place, manage, caplog):
  path = place(1, 1)
  manager = manage(path)
  shutil.rmtree(os.path.join(path, "1"))
  manager.refresh()
  manager.refresh()
  assert served(manager) == [1] and caplog.text.count("holds no version any more") == 1


def test_a_broken_version_that_is_removed_is_forgotten(place, manage):
  path = place(1, 1)
  broken = os.path.join(path, "2")
  os.mkdir(broken)
  with open(os.path.join(broken, "saved_model.pb"), "w") as file:
    file.write("not a model")
  manager = manage(path)
  assert [(s.version, s.state) for s in manager.statuses()] == [(1, "AVAILABLE"), (2, "END")]
  shutil.rmtree(broken)
  manager.refresh()
  assert [s.version for s in manager.statuses()] == [1]


@pytest.mark.parametrize(
  ("policy", "versions"),
  [(Policy(), [4]), (Policy(latest=2), [4, 2]), (Policy(latest=None), [4, 2, 1]),
   (Policy(specific=(1, 4)), [4, 1])],
)  # fmt: skip
def test_policies(place, manage, policy, versions):
  for number, version in ((1, 1), (2, 2), (3, 4)):
    path = place(number, version)
  assert served(manage(path, policy=policy)) == versions


CONFIG = """
model_config_list {
  config { name: "one" base_path: "one" model_platform: "tensorflow" }
  config {
    name: "two" base_path: "two" model_platform: "tensorflow"
    model_version_policy { specific { versions: 1 versions: 2 } }
    version_labels { key: "stable" value: 1 }
    version_labels { key: "canary" value: 2 }
  }
}
"""


def test_several_models_with_labels(place, tmp_path):
  place(1, NANOSECONDS, "one")
  place(2, 1, "two")
  place(3, 2, "two")
  (tmp_path / "models.config").write_text(CONFIG)
  with running_server.running(None, models_config=str(tmp_path / "models.config")) as one:

    def ask(path: str) -> tuple[int, object]:
      status, answer = one.request(f"/v1/models/{path}:predict", b'{"instances": [10]}')
      return status, answer.get("predictions", answer.get("error"))

    assert ask("one") == (200, [11])
    assert ask(f"one/versions/{NANOSECONDS}") == ask(f"one/versions/0{NANOSECONDS}") == (200, [11])
    assert ask("two") == ask("two/labels/canary") == ask("two/versions/2") == (200, [13])
    assert ask("two/labels/stable") == (200, [12])
    # As http_rest_api_util.cc has it, paths are of any case, and names are decoded.
    assert one.request("/V1/Models/t%77o/Versions/1:Predict", b'{"inputs": [1]}')[1]["outputs"] == [
      3
    ]
    assert ask("two/labels/other")[0] == 400 and ask("one/labels/stable")[0] == 400
    assert ask("three") == (404, "expected the model one or two, found 'three'")
    assert one.request("/readyz")[1]["models"] == ["one", "two"]
    assert one.request("/about.json?model=two")[1]["models"] == ["one", "two"]
    states = one.request("/v1/models/two")[1]["model_version_status"]
    assert [state["version"] for state in states] == ["2", "1"]
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    with grpc.insecure_channel(one.target) as channel:
      stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
      request = predict_pb2.PredictRequest()
      request.model_spec.name, request.model_spec.version_label = "two", "stable"
      import tensorflow as tf

      request.inputs["x"].CopyFrom(tf.make_tensor_proto([5], tf.int32))
      response = stub.Predict(request, timeout=20)
      assert tf.make_ndarray(response.outputs["y"]).tolist() == [7]
      assert response.model_spec.version.value == 1


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("x", "expected a ModelServerConfig in"),
    ("", "expected models of different names in model_config_list of .* found none"),
    (CONFIG.replace('"two" base', '"one" base'), "different names .* found one, one"),
    (CONFIG.replace('base_path: "one"', ""), "expected name and base_path"),
    (CONFIG.replace('platform: "tensorflow"', 'platform: "x"'), "found 'x'"),
    (CONFIG.replace("versions: 1 versions: 2", ""), "expected versions in specific of two"),
  ],
)  # fmt: skip
def test_configs_that_cannot_be(tmp_path, text, message):
  (tmp_path / "models.config").write_text(text)
  with pytest.raises(UserError, match=message):
    models.of_config(str(tmp_path / "models.config"))
  with pytest.raises(UserError, match="cannot read"):
    models.of_config(str(tmp_path / "nothing"))


def test_a_label_of_a_version_that_is_not_served_is_refused(place):
  path = place(1, 1)
  with pytest.raises(UserError, match=r"version 2 of the label 'stable' .* found 1; change"):
    VersionManager(path, BatchingOptions(), labels={"stable": 2})


def test_an_export_s_own_config_is_read(tmp_path):
  from bert_tf.export import deployment

  deployment.write(str(tmp_path / "sst2"))
  [model] = models.of_config(str(tmp_path / "sst2" / "serving" / "models.config"))
  assert (model.name, model.path, model.policy) == ("sst2", "/models/sst2", Policy(latest=1))


def test_rest_answers_of_many_megabytes_reach_the_client(place, monkeypatch):
  """And one that is over what a client takes is said to be."""
  from bert_tf.serving import client

  with running_server.running(place(1, 1)) as one:
    rest = client.RestClient(one.url, "m", timeout=20)
    assert rest.predict({"x": [1, 2]}) == {"y": [2, 3]}
    monkeypatch.setattr(client, "_MAX_ANSWER", 8)
    with pytest.raises(client.ServerError, match="answer of at most 8 bytes"):
      rest.predict({"x": list(range(9))})
