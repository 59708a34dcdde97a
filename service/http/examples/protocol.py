"""`/v2`, the Open Inference Protocol."""

from service.http.examples.words import IMAGE, NEW_CLASS, Example, Words


def of_protocol(words: Words) -> dict[str, Example]:
    model = {"model": words.bundle}
    number = {**model, "number": "1"}
    image = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [IMAGE]}
    red = {"name": "image", "datatype": "UINT8", "shape": [1, 1, 2, 3], "data": [200, 60, 50] * 2}
    bodies = {
        "an encoded image": {"id": "42", "inputs": [image]},
        "pixels, and one output": {
            "inputs": [red],
            "outputs": [{"name": "probabilities"}],
            "parameters": {"top_k": 1},
        },
    }
    (first, *_) = words.predictions() or [{"class_id": NEW_CLASS, "name": "", "probability": 1.0}]
    outputs = [
        ("class_ids", "BYTES", first["class_id"]),
        ("class_names", "BYTES", first["name"]),
        ("probabilities", "FP32", first["probability"]),
    ]
    inferred = {
        "model_name": words.bundle,
        "model_version": "1",
        "id": "42",
        "outputs": [
            {"name": name, "datatype": datatype, "shape": [1, 1], "data": [value]}
            for name, datatype, value in outputs
        ],
    }
    described = {
        "name": words.bundle,
        "versions": ["1"],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            *({"name": name, "datatype": kind, "shape": [-1, -1]} for name, kind, _ in outputs),
            {"name": "embedding", "datatype": "FP32", "shape": [-1, words.dimension]},
        ],
    }
    metadata = {"the model": described}
    ready = {"ready": {"name": words.bundle, "ready": True}}
    answers = {"one image": inferred}
    server = {"name": "umzero", "version": "0.1.0", "extensions": ["binary_tensor_data"]}
    return {
        "server_metadata": Example(answers={"this server": server}),
        "server_live": Example(answers={"live": {"live": True}}),
        "server_ready": Example(answers={"ready": {"live": True, "ready": True}}),
        "model_metadata": Example(model, answers=metadata),
        "model_version_metadata": Example(number, answers=metadata),
        "model_ready": Example(model, answers=ready),
        "model_version_ready": Example(number, answers=ready),
        "infer": Example(model, bodies, answers),
        "infer_version": Example(number, bodies, answers),
    }
