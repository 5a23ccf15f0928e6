"""Write the files that the contracts import into `protos/`: `make vendor-protos`, after an update of their packages.

They are those of the installed versions, with which servers work, and a test compares them. googleapis-common-protos
ships its sources. protovalidate ships only the compiled descriptor of its rules, so their text is written from that.
"""

import sys
from importlib.metadata import distribution
from pathlib import Path

from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts.proto_text import proto_text  # noqa: E402 - the path has to be set first

#: Beside what the contracts import: how clients read the details of errors.
GOOGLE_RPC = ("google/rpc/code.proto", "google/rpc/error_details.proto", "google/rpc/status.proto")
RULES = "buf/validate/validate.proto"

_RULES_HEADER = """\
// Copyright 2023-2026 Buf Technologies, Inc.
//
// Licensed under the Apache License, Version 2.0 (the "License");
// you may not use this file except in compliance with the License.
// You may obtain a copy of the License at
//
//     http://www.apache.org/licenses/LICENSE-2.0
//
// Unless required by applicable law or agreed to in writing, software
// distributed under the License is distributed on an "AS IS" BASIS,
// WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
// See the License for the specific language governing permissions and
// limitations under the License.

// Changed: written from the compiled descriptor in protovalidate {version} for Python, which has no comments.

"""


def vendored() -> dict[str, str]:
    """Return the text of each file by its name, as the installed packages have it."""
    google = distribution("googleapis-common-protos")
    found = {name: Path(str(google.locate_file(name))).read_text("utf-8") for name in GOOGLE_RPC}
    header = _RULES_HEADER.format(version=distribution("protovalidate").version)
    return found | {RULES: header + proto_text(_rules(), RULES)}


def _rules() -> FileDescriptorSet:
    # A private module, but the only source without a network of the exact version with which servers validate.
    from protovalidate._gen.buf.validate import validate_pb

    rules = FileDescriptorProto.FromString(validate_pb.desc().proto.to_binary())
    pool = descriptor_pool.Default()
    found = FileDescriptorSet()
    for name in rules.dependency:
        # The module of a google/protobuf file puts it into the default pool.
        __import__(name.removesuffix(".proto").replace("/", ".") + "_pb2")
        pool.FindFileByName(name).CopyToProto(found.file.add())
    found.file.append(rules)
    return found


if __name__ == "__main__":
    for name, text in vendored().items():
        file = ROOT / "protos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
