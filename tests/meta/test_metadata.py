"""TFLite metadata is written as the standard has it, read back, and changes nothing of the model."""

from __future__ import annotations

import base64
import io
import random
import struct
import zipfile
import zlib
from dataclasses import replace

import numpy as np
import pytest

from suite.converters import contract, metadata, packing
from suite.converters.contract import Stated
from suite.converters.inspection import inspect
from suite.converters.metadata import Metadata, Tensor
from suite.errors import CaseError
from suite.runtimes import ENGINES, Pool, open_session
from suite.spec import PREPROCESSING, TFLITE, ImageInput, Resize
from tests.meta.conftest import Subject

LABELS = tuple(f"class {number}" for number in range(10))
FULL = Metadata(
    name="net",
    description="what it is",
    version="7",
    author="us",
    inputs=(
        Tensor(
            name="image",
            description="a photo",
            colours="RGB",
            mean=(123.5, 116.0, 104.25),
            std=(58.5, 57.0, 57.5),
            low=(-2.0, -2.5, -1.5),
            high=(2.0, 2.0, 2.25),
        ),
    ),
    outputs=(Tensor(name="scores", labels=("labels.txt",), files=("ranges.csv",)), Tensor(name="box")),
    files=("LICENCE",),
)


def stated(mode: str = "tf", channels: int = 3, labels: tuple[str, ...] = LABELS, **image: object) -> Stated:
    photo = ImageInput(height=16, width=16, channels=channels, preprocessing=mode, **image)
    return Stated(model="classifier", content="0123456789abcdef", image=photo, labels=labels)


# --- the flatbuffer ---------------------------------------------------------------------------------


@pytest.mark.parametrize("described", [FULL, Metadata(name="bare", inputs=(Tensor(name="x"),))])
def test_what_is_written_is_read_back(described: Metadata) -> None:
    data = metadata.write(described)
    assert data[4:8] == b"M001"
    assert metadata.read(data) == described
    assert metadata.write(metadata.read(data)) == data


def test_the_bytes_are_where_the_schema_has_them() -> None:
    """By hand, from metadata_schema.fbs: field n of a table is entry n of its vtable."""
    data = metadata.write(FULL)

    def field(table: int, number: int) -> int:
        vtable = table - struct.unpack_from("<i", data, table)[0]
        size, place = struct.unpack_from("<H", data, vtable)[0], 4 + 2 * number
        offset = struct.unpack_from("<H", data, vtable + place)[0] if place < size else 0
        assert offset, f"field {number} is absent"
        return table + offset

    def follow(place: int) -> int:
        return place + struct.unpack_from("<I", data, place)[0]

    def text(place: int) -> bytes:
        start = follow(place)
        return data[start + 4 : start + 4 + struct.unpack_from("<I", data, start)[0]]

    def floats(place: int) -> tuple[float, ...]:
        start = follow(place)
        return struct.unpack_from(f"<{struct.unpack_from('<I', data, start)[0]}f", data, start + 4)

    def first(place: int) -> int:
        return follow(follow(place) + 4)

    model = follow(0)
    assert text(field(model, 0)) == b"net"  # ModelMetadata.name
    assert text(field(model, 7)) == b"1.0.0"  # .min_parser_version
    graph = first(field(model, 3))  # .subgraph_metadata
    image = first(field(graph, 2))  # SubGraphMetadata.input_tensor_metadata
    content = follow(field(image, 3))  # TensorMetadata.content
    assert data[field(content, 0)] == 2  # Content.content_properties_type: ImageProperties
    assert data[field(follow(field(content, 1)), 0)] == 1  # ImageProperties.color_space: RGB
    unit = first(field(image, 4))  # TensorMetadata.process_units
    assert data[field(unit, 0)] == 1  # ProcessUnit.options_type: NormalizationOptions
    options = follow(field(unit, 1))
    assert floats(field(options, 0)) == FULL.inputs[0].mean
    assert floats(field(options, 1)) == FULL.inputs[0].std
    stats = follow(field(image, 5))
    assert floats(field(stats, 0)) == FULL.inputs[0].high  # Stats.max comes first
    assert floats(field(stats, 1)) == FULL.inputs[0].low
    labels = first(field(first(field(graph, 3)), 6))  # output_tensor_metadata, associated_files
    assert text(field(labels, 0)) == b"labels.txt"
    assert data[field(labels, 2)] == 2  # AssociatedFile.type: TENSOR_AXIS_LABELS


# FULL as Google's own classes of that schema write it (mediapipe 1.2.2, zlib and base64).
BY_GOOGLE = (
    "eNpNkj1Ow0AQhV8S4yyQIopcUKRwQYksR4pEQ2E5SoEUqBC9E0wSFGwUG0hBQUnJISg5AB05Qo7BAZDoMG93R4Dkb39mZ+fNjLcL"
    "4CQMex58dLEHD220aFNwuAZtwD45IhEJ60CfRGSL+14QBiHnGnHIeVVVem6S0fFgeDoYgq64LaxPm7SMgtWwWsAn0X6jfz7KeP35"
    "6Hw231Vl7aidUavBxThfcexI5vi91zFxAH36JPH7YgNco+9K3jtkmWTTtAgmxR2MpW1yaJozfV1JP3TcRTJOF8WBn2epn/iLeZba"
    "GNYelKsSeGB+LcnVgWN0tF4xyZep9MMz9dq+w+g5ZuVJz5/JC3klb5WtXZ81bNw14JP1u+wjSzuqSZ2K4y5jKumrzkWJjvrXV3v/"
    "KgYuyGVs919cf8R43MSK1W3LHVNT3TW9cSWm/t+JfzPLy9y8i/l1Mk3lXRxKf+9nSenP+RVWL0tL/ABfg0aW"
)


def test_what_googles_own_classes_write_is_read() -> None:
    data = zlib.decompress(base64.b64decode(BY_GOOGLE))
    assert metadata.read(data) == FULL


def test_damaged_metadata_is_read_or_refused() -> None:
    good, chance = metadata.write(FULL), random.Random(3)
    refused = []
    for _ in range(300):
        data = bytearray(good)
        data[chance.randrange(8, len(data))] ^= 1 << chance.randrange(8)
        try:
            metadata.read(bytes(data))
        except CaseError as error:
            refused.append(str(error))
    assert refused
    assert all("Write it again" in message for message in refused)
    with pytest.raises(CaseError, match="expected b'M001'"):
        metadata.read(b"nothing of the kind")


# --- in a model ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", TFLITE)
def test_the_model_answers_and_computes_as_before(
    classifier: Subject, tensorflow: Pool, images: np.ndarray, tmp_path, variant: str
) -> None:
    before, after = classifier.artifact(variant), tmp_path / "described.tflite"
    after.write_bytes(contract.packed(before.read_bytes(), stated()))
    assert inspect(after) == inspect(before)
    for engine in ("litert-xnnpack", *(("tflite-runtime",) if variant in ("float32", "int8") else ())):
        answers = []
        for path in (before, after):
            worker = tensorflow.worker(ENGINES[engine].worker)
            with open_session(engine, path, threads=1, worker=worker) as session:
                (found,) = session.run_many({session.inputs[0].name: images}).values()
                answers.append(found.tobytes())
        assert answers[0] == answers[1]


def test_weights_stay_aligned(classifier: Subject) -> None:
    """Converters put every buffer at a multiple of 16 bytes, which kernels may rely on."""
    from ai_edge_litert import schema_py_generated as schema

    data = contract.packed(classifier.artifact("float32").read_bytes(), stated())
    model = schema.Model.GetRootAsModel(data, 0)
    places = []
    for index in range(model.BuffersLength()):
        table = model.Buffers(index)._tab
        if offset := table.Offset(4):
            places.append(table.Vector(offset))
    assert len(places) > 5
    assert all(place % 16 == 0 for place in places)


def test_labels_are_a_zip_at_the_end_and_the_same_bytes_each_time(classifier: Subject) -> None:
    given = classifier.artifact("float32").read_bytes()
    data = contract.packed(given, stated())
    assert data == contract.packed(given, stated())
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        (entry,) = archive.infolist()
        assert (entry.filename, entry.compress_type) == ("labels.txt", zipfile.ZIP_STORED)
        assert data[entry.header_offset : entry.header_offset + 4] == b"PK\3\4"
        assert archive.read(entry).decode().splitlines() == list(LABELS)
    # Written over what is there already, nothing is left of it.
    again = contract.packed(data, replace(stated(), labels=LABELS[::-1], model="other"))
    found = packing.unpack(again)
    assert found.metadata is not None
    assert found.metadata.name == "other"
    assert found.files == {"labels.txt": "".join(f"{one}\n" for one in LABELS[::-1]).encode()}


def test_several_inputs_and_outputs_are_described_in_the_files_order(two_headed: Subject) -> None:
    data = two_headed.artifact("float32").read_bytes()
    inputs, outputs = packing.tensor_names(data)
    assert (set(inputs), set(outputs)) == ({"image", "numbers"}, {"scores", "box"})
    described = packing.unpack(contract.packed(data, replace(stated(), image=None, labels=()))).metadata
    assert described is not None
    assert tuple(one.name for one in described.inputs) == inputs
    assert tuple(one.name for one in described.outputs) == outputs


# --- what is told ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", PREPROCESSING)
def test_every_preprocessing_is_told_as_it_is(classifier: Subject, mode: str) -> None:
    given = stated(mode, resize=Resize.CENTRE_CROP, interpolation="bicubic")
    data = contract.packed(classifier.artifact("float32").read_bytes(), given)
    told, described = contract.told(data), packing.unpack(data).metadata
    assert given.image is not None
    np.testing.assert_allclose(told.std, 1 / np.array(given.image.mode.scale), rtol=1e-6)
    np.testing.assert_allclose(
        told.mean, -np.array(given.image.mode.bias) / given.image.mode.scale, rtol=1e-6, atol=1e-9
    )
    assert (told.channels, told.resize, told.interpolation) == (
        given.image.mode.channel_order,
        "centre_crop",
        "bicubic",
    )
    assert told.labels == LABELS
    # RGB where the model takes BGR would be a lie: readers that know no other order refuse UNKNOWN.
    assert described is not None
    assert described.inputs[0].colours == ("UNKNOWN" if mode == "caffe" else "RGB")
    assert ("Swap red and blue" in described.inputs[0].description) == (mode == "caffe")


def test_a_grey_photo_has_one_channel(classifier: Subject) -> None:
    data = contract.packed(classifier.artifact("float32").read_bytes(), stated("unit", channels=1))
    told = contract.told(data)
    assert (told.channels, told.mean, told.std) == ("grey", (0.0,), (255.0,))


@pytest.mark.parametrize("label", ["", "  ", "two\nlines"])
def test_a_label_that_no_reader_would_find_is_refused(label: str) -> None:
    with pytest.raises(CaseError, match="label 1 is"):
        contract.label_file(("one", label))


def test_a_model_without_a_stated_contract_gets_no_metadata(classifier: Subject) -> None:
    assert contract.stated(classifier.original.spec, classifier.original.card) is None
    assert contract.told(classifier.artifact("float32").read_bytes()).described is False


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda data: packing.pack(data, packing.unpack(data).metadata, {}), "promises labels.txt"),
        (lambda data: data[:-30], "promises labels.txt"),
        (
            lambda data: packing.pack(
                data, replace(packing.unpack(data).metadata, inputs=()), packing.unpack(data).files
            ),
            "describes 0 inputs, the model has 1",
        ),
        (lambda data: data.replace(b"M001", b"X001"), "expected b'M001'"),
    ],
    ids=["no file", "cut short", "no input", "no identifier"],
)
def test_a_file_that_contradicts_itself_is_refused(classifier: Subject, spoil, words: str) -> None:
    data = contract.packed(classifier.artifact("float32").read_bytes(), stated())
    assert contract.told(data).labels == LABELS
    with pytest.raises(CaseError, match=words):
        contract.told(spoil(data))
