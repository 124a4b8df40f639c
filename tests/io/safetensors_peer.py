"""A reader and writer of safetensors files of its own, with struct and json alone: reads the first file strictly, checks
values that the test put there, and writes the same entries, in another order, to the second one."""

import json
import struct
import sys

WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2,
          "U8": 1, "BOOL": 1}


def without_repetition(pairs):
    names = [name for name, _ in pairs]
    assert len(names) == len(set(names)), f"a name is there twice in {names}"
    return dict(pairs)


def read(path):
    with open(path, "rb") as file:
        content = file.read()
    (length,) = struct.unpack("<Q", content[:8])
    assert length <= 100_000_000 and length % 8 == 0 and 8 + length <= len(content), length
    text, data = content[8 : 8 + length].decode("utf-8"), content[8 + length :]
    assert text[0] == "{" and text.rstrip(" ")[-1] == "}"
    header = json.loads(text, object_pairs_hook=without_repetition)
    metadata = header.pop("__metadata__", {})
    assert all(isinstance(value, str) for value in metadata.values())
    at, tensors = 0, {}
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        assert set(entry) == {"dtype", "shape", "data_offsets"}, entry
        begin, end = entry["data_offsets"]
        count = 1
        for extent in entry["shape"]:
            count *= extent
        assert begin == at and end - begin == count * WIDTHS[entry["dtype"]], (name, entry)
        assert (8 + length + begin) % WIDTHS[entry["dtype"]] == 0, f"{name} is not aligned"
        tensors[name] = (entry["dtype"], entry["shape"], data[begin:end])
        at = end
    assert at == len(data), (at, len(data))
    return tensors, metadata


def write(path, tensors, metadata):
    header, data = {}, b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"shape": shape, "data_offsets": [len(data), len(data) + len(content)], "dtype": dtype}
        data += content
    header["__metadata__"] = metadata
    text = json.dumps(header, indent=1).encode("ascii")  # with line breaks, and \\u escapes for all that is not ASCII
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def main():
    tensors, metadata = read(sys.argv[1])
    assert json.loads(metadata["options"]) == {"hidden": 128, "title": "größe \"三\"\n"}, metadata
    assert json.loads(metadata["best"]) == 1.5
    dtype, shape, content = tensors["layer.weight"]
    assert (dtype, shape) == ("F32", [2, 3])
    assert struct.unpack("<6f", content)[:4] == (1.5, -2.0, 0.25, 3.0)
    assert struct.unpack("<d", tensors["größe.三\n"][2]) == (0.1,)
    assert sum(name.startswith("empty.") for name in tensors) == len(WIDTHS)
    write(sys.argv[2], dict(sorted(tensors.items(), reverse=True)), metadata)


if __name__ == "__main__":
    main()
