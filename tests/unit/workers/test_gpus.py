"""Cards: what they are called, which of them a worker takes, and what it says about the others."""

from __future__ import annotations

import base64
import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support import fake_nvml

from augury_workers import environment, nvml, settings
from augury_workers.gpus import Gpu, Holder, choose, machine_type, parse_overrides, visible
from augury_workers.secret import SettingError
from augury_workers.settings import Host
from augury_workers.spool import Identity

MIB = 2**20

NAMES = {
    "Tesla K80": "K80",
    "Tesla T4": "T4",
    "Tesla P100-PCIE-16GB": "P100",
    "Tesla V100-SXM2-32GB": "V100",
    "A100-PCIE-40GB": "A100",
    "NVIDIA A100-SXM4-80GB": "A100",
    "NVIDIA A100 80GB PCIe": "A100",
    "NVIDIA A10G": "A10G",
    "NVIDIA L4": "L4",
    "NVIDIA L40S": "L40S",
    "NVIDIA H100 80GB HBM3": "H100",
    "NVIDIA H100 NVL": "H100",
    "NVIDIA H100 PCIe": "H100",
    "NVIDIA H200": "H200",
    "NVIDIA B200": "B200",
    "NVIDIA GH200 480GB": "GH200",
    "GeForce GTX 1080 Ti": "GTX1080Ti",
    "NVIDIA GeForce RTX 4090": "RTX4090",
    "NVIDIA GeForce RTX 3080 Laptop GPU": "RTX3080Laptop",
    "NVIDIA TITAN RTX": "TITANRTX",
    "Quadro RTX 8000": "RTX8000",
    "NVIDIA RTX A6000": "RTXA6000",
    "NVIDIA RTX 6000 Ada Generation": "RTX6000Ada",
    "NVIDIA A100-SXM4-40GB MIG 1g.5gb": "A100-1g.5gb",
    "AMD Instinct MI300X OAM": "MI300X",
    "NVIDIA Graphics": "GPU",
    "": "GPU",
}


def card(index: int, name: str = "NVIDIA A100-SXM4-80GB", **fields: Any) -> Gpu:
    return Gpu(index, fields.pop("uuid", f"GPU-{index}abc"), name, 80 * 1024 * MIB, 0, **fields)


def everything(_: Gpu) -> bool:
    return True


@pytest.mark.parametrize(("name", "wanted"), NAMES.items())
def test_machine_type_is_the_short_name_of_the_card(name: str, wanted: str) -> None:
    assert machine_type(name) == wanted


def test_machine_type_of_a_card_can_be_chosen() -> None:
    overrides = parse_overrides("NVIDIA A100*80GB*=A100-80G, Tesla K80 = old ,")
    assert machine_type("NVIDIA A100-SXM4-80GB", overrides) == "A100-80G"
    assert machine_type("Tesla K80", overrides) == "old"
    assert machine_type("NVIDIA H200", overrides) == "H200"
    assert parse_overrides("") == {}
    for wrong in ("K80", "=K80", "Tesla K80="):
        with pytest.raises(SettingError, match="AUGURY_GPU_TYPES"):
            parse_overrides(wrong)


@pytest.mark.parametrize(
    ("variable", "indices"),
    [
        (None, [0, 1, 2]),
        ("all", [0, 1, 2]),
        ("2,0", [2, 0]),
        (" 1 ", [1]),
        ("1,1", [1]),
        ("GPU-1a", [1]),
        ("GPU-2abc,0", [2, 0]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("none", []),
        ("0,7,1", [0]),
        ("0,x,1", [0]),
    ],
)
def test_visible_devices_are_respected(variable: str | None, indices: list[int]) -> None:
    assert [one.index for one in visible([card(0), card(1), card(2)], variable)] == indices


def test_worker_serves_the_type_of_most_cards_and_says_how_to_serve_the_others() -> None:
    cards = [card(0, "Tesla T4"), card(1), card(2), card(3, "Tesla T4"), card(4)]
    found = choose(cards, None, {}, everything)
    assert (found.machine_type, [one.index for one in found.cards]) == ("A100", [1, 2, 4])
    [note] = found.notes
    assert "2 x T4 (GPU 0, 3)" in note
    assert "augury worker -t T4" in note
    assert [one.index for one in choose(cards, "t4", {}, everything).cards] == [0, 3]


def test_worker_told_another_type_takes_all_cards() -> None:
    found = choose([card(0), card(1)], "local", {}, everything)
    assert (found.machine_type, len(found.cards), found.notes) == ("local", 2, ())


def test_worker_without_cards_is_one_of_type_cpu_and_hides_nothing() -> None:
    assert choose([], None, {}, everything) == choose([], "CPU", {}, everything)
    found = choose([], None, {}, everything)
    assert (found.machine_type, found.cards, found.hides) == ("CPU", (), False)


def test_worker_of_type_cpu_leaves_the_cards_to_others() -> None:
    found = choose([card(0)], "cpu", {}, lambda _: pytest.fail("it took a card"))
    assert (found.cards, found.hides) == ((), True)


def test_card_that_somebody_else_uses_is_left_out_by_name() -> None:
    busy = card(0, foreign=501 * MIB, holders=(Holder(77, "anna", "python3", 501 * MIB),))
    little = card(1, foreign=500 * MIB, holders=(Holder(78, "bob", "python3", 500 * MIB),))
    found = choose([busy, little], None, {}, everything)
    assert [one.index for one in found.cards] == [1]
    [note] = found.notes
    assert note == "GPU 0 is left out: python3 of anna (pid 77) holds 501 MiB of its memory"
    for wanted in (None, "A100", "big"):
        with pytest.raises(SettingError, match=r"no card is free: GPU 0.*anna.*-t CPU"):
            choose([busy], wanted, {}, everything)
    local = choose([busy], "local", {}, everything)
    assert (local.cards, local.hides, len(local.notes)) == ((), True, 1)
    assert "cannot be seen" in choose([card(0, foreign=600 * MIB)], "local", {}, everything).notes[0]


def test_card_that_another_worker_serves_is_left_out() -> None:
    found = choose([card(0), card(1)], None, {}, lambda one: one.index == 1)
    assert [one.index for one in found.cards] == [1]
    assert "another worker" in found.notes[0]


class NVMLError(Exception):
    pass


class FakeDriver:
    """As much of `pynvml` as is used."""

    NVMLError = NVMLError
    nvmlMemory_v2 = 2

    def __init__(self, cards: list[dict[str, Any]]) -> None:
        self.cards = cards
        self.opened = 0

    def nvmlInit(self) -> None:
        self.opened += 1

    def nvmlShutdown(self) -> None:
        self.opened -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:
        if "lost" in self.cards[index]:
            raise NVMLError("GPU is lost")
        return self.cards[index]

    def nvmlDeviceGetMigMode(self, handle: dict[str, Any]) -> tuple[int, int]:
        if "parts" not in handle:
            raise NVMLError("Not Supported")
        return (1, 1)

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: dict[str, Any]) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: dict[str, Any], number: int) -> dict[str, Any]:
        if number >= len(handle["parts"]):
            raise NVMLError("Not Found")
        part: dict[str, Any] = handle["parts"][number]
        return part

    def nvmlDeviceGetMemoryInfo(self, handle: dict[str, Any], version: int = 1) -> SimpleNamespace:
        reserved = 600 * MIB if version == 1 else 0
        return SimpleNamespace(total=1024 * MIB, used=handle.get("used", 0) + reserved)

    def nvmlDeviceGetUUID(self, handle: dict[str, Any]) -> bytes:
        return str(handle["uuid"]).encode()

    def nvmlDeviceGetName(self, handle: dict[str, Any]) -> str:
        return str(handle["name"])

    def nvmlDeviceGetComputeRunningProcesses(self, handle: dict[str, Any]) -> list[SimpleNamespace]:
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in handle.get("computing", [])]

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: dict[str, Any]) -> list[SimpleNamespace]:
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in handle.get("drawing", [])]


def describe(pid: int) -> tuple[str, str, bool]:
    return "anna", f"command{pid}", pid == 1


def detected(**fields: Any) -> Gpu:
    driver = FakeDriver([{"uuid": "GPU-a", "name": "Tesla K80", **fields}])
    [found], notes = nvml.detect(driver, describe)
    assert not notes
    assert driver.opened == 0
    return found


def test_cards_are_read_with_uuid_name_and_memory() -> None:
    found = detected(used=10 * MIB)
    assert (found.index, found.uuid, found.name) == (0, "GPU-a", "Tesla K80")
    assert (found.memory, found.used, found.foreign) == (1024 * MIB, 10 * MIB, 10 * MIB)


def test_memory_of_other_people_is_told_from_our_own_and_from_the_desktop() -> None:
    found = detected(used=700 * MIB, computing=[(1, 700 * MIB)])
    assert (found.foreign, found.holders) == (0, ())
    found = detected(used=900 * MIB, computing=[(2, 100 * MIB), (3, 800 * MIB)])
    assert found.foreign == 900 * MIB
    assert [str(holder) for holder in found.holders] == [
        "command3 of anna (pid 3)",
        "command2 of anna (pid 2)",
    ]
    assert detected(used=900 * MIB, drawing=[(4, 900 * MIB)]).foreign == 0
    assert detected(used=900 * MIB).foreign == 900 * MIB
    assert detected(used=900 * MIB, computing=[(1, None)]).foreign == 0
    assert detected(used=900 * MIB, computing=[(2, None)]).foreign == 900 * MIB


def test_memory_of_a_run_that_was_killed_just_now_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    left = {"uuid": "GPU-a", "name": "Tesla K80", "used": 900 * MIB}

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        left["used"] = 900 * MIB if len(slept) < 2 or patient else 0

    monkeypatch.setattr(nvml, "load", lambda _: FakeDriver([left]))
    monkeypatch.setattr(nvml.time, "sleep", sleep)
    patient = False
    [found], _ = nvml.look({}, "lab")
    assert (found.foreign, slept) == (0, [1.0, 1.0])
    slept.clear()
    patient, left["used"] = True, 900 * MIB
    [found], _ = nvml.look({}, "lab")
    assert (found.foreign, len(slept)) == (900 * MIB, nvml.SETTLE_LOOKS)


def test_lost_card_is_named_and_the_others_are_used() -> None:
    cards = [{"uuid": "GPU-a", "name": "Tesla K80"}, {"lost": True}]
    found, [note] = nvml.detect(FakeDriver(cards), describe)
    assert [one.uuid for one in found] == ["GPU-a"]
    assert note == "GPU 1 is left out: it does not answer (GPU is lost)"


def test_parts_of_a_divided_card_are_cards_of_their_own() -> None:
    parts = [{"uuid": f"MIG-{i}", "name": "NVIDIA A100-SXM4-40GB MIG 1g.5gb"} for i in range(3)]
    found, notes = nvml.detect(FakeDriver([{"uuid": "GPU-a", "name": "A100", "parts": parts}]), describe)
    assert [one.uuid for one in found] == ["MIG-0", "MIG-1", "MIG-2"]
    assert not notes
    assert choose(found, None, {}, everything).machine_type == "A100-1g.5gb"
    assert visible(found, "MIG-1") == [found[1]]


def test_driver_that_does_not_answer_is_named() -> None:
    driver = FakeDriver([])
    driver.nvmlInit = lambda: (_ for _ in ()).throw(NVMLError("Driver Not Loaded"))  # type: ignore[method-assign]
    assert nvml.detect(driver, describe) == ([], ["the NVIDIA driver does not answer: Driver Not Loaded"])


def test_binding_is_not_imported_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "LIBRARY", "libno-such-thing.so.1")
    monkeypatch.setitem(__import__("sys").modules, "pynvml", None)
    assert nvml.look({}, "lab") == ([], [])


def test_card_is_locked_against_a_second_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(nvml, "LOCK_SECONDS", 0.0)
    odd = card(0, uuid="MIG-GPU-1/7/0")
    assert nvml.Locks().take(odd)
    assert not nvml.Locks().take(odd)
    assert nvml.Locks().take(card(1))


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    secret = tmp_path / "secret"
    secret.write_text(f"k1 {base64.b64encode(b'k' * 32).decode()}\n")
    secret.chmod(0o600)
    where = {"AUGURY_URL": "http://h", "AUGURY_REDIS_URL": "redis://h"}
    return where | {"AUGURY_SECRET_FILE": str(secret)}


def parse(variables: dict[str, str], *words: str, cards: int = 2, **more: str) -> settings.Settings:
    host = Host(lambda *_: ([card(i) for i in range(cards)], []), everything)
    return settings.parse(words, {**variables, **more}, host)


def test_worker_has_one_slot_per_card_and_says_how_to_change_it(variables: dict[str, str]) -> None:
    found = parse(variables)
    assert (found.machine_type, found.queue, found.slots) == ("A100", "a100", 2)
    assert found.pins == ("GPU-0abc", "GPU-1abc")
    assert "2 slots on queue 'a100' (one per card: GPU 0, 1; change it with --slots" in found.describe()
    assert parse(variables, CUDA_VISIBLE_DEVICES="1").pins == ("GPU-1abc",)
    assert parse(variables, "--slots", "1").pins == ("GPU-0abc",)
    shared = parse(variables, "--slots", "3")
    assert shared.pins == ("GPU-0abc", "GPU-1abc", "GPU-0abc")
    assert "they share GPU 0, 1" in shared.describe()
    assert parse(variables, AUGURY_GPU_TYPES="NVIDIA A100*=big").machine_type == "big"


def test_worker_without_cards_pins_nothing_and_one_of_type_cpu_hides_them(variables: dict[str, str]) -> None:
    assert parse(variables, cards=0).pins == ()
    assert parse(variables, cards=0).queue == "cpu"
    assert parse(variables, "--machine-type", "CPU", "--slots", "2").pins == ("", "")


def test_run_sees_the_card_of_its_slot_whatever_the_shell_said() -> None:
    base = {"CUDA_VISIBLE_DEVICES": "0,1", "CUDA_DEVICE_ORDER": "FASTEST_FIRST"}
    order = {"instance": "lab", "attempt": 1, "env": {"set": {"CUDA_VISIBLE_DEVICES": "3"}}}
    pinned = environment.build(order, base, Identity(1, 1, "aa"), "/f", None, "GPU-7")
    assert (pinned["CUDA_VISIBLE_DEVICES"], pinned["CUDA_DEVICE_ORDER"]) == ("GPU-7", "PCI_BUS_ID")
    free = environment.build(order, base, Identity(1, 1, "aa"), "/f", None)
    assert free["CUDA_VISIBLE_DEVICES"] == "3"


def test_fake_drivers_have_the_names_of_the_real_one() -> None:
    pynvml = pytest.importorskip("pynvml")
    names = [name for fake in (FakeDriver, fake_nvml) for name in vars(fake) if name.startswith("nvml")]
    assert len(names) > 15
    assert not [name for name in [*names, "NVMLError"] if not hasattr(pynvml, name)]
    assert "version" in inspect.signature(pynvml.nvmlDeviceGetMemoryInfo).parameters
