"""Has models of all backends answer the official Anthropic SDK: ANTHROPIC_BASE_URL and ANTHROPIC_API_KEY name the service, MODELS the models, and
TOOL_MODELS those that call a tool."""

import os

import anthropic

client = anthropic.Anthropic(max_retries=0, timeout=600)
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
LOOK = {
    "name": "look",
    "description": "Looks something up",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


# The SDK knows no temperature any more; that of a small model has to be low all the same.
COLD = {"extra_body": {"temperature": 0}}


def models(name):
    return os.environ.get(name, "").split()


def refused(kind, call):
    try:
        call()
    except kind as error:
        assert error.body["type"] == "error" and error.body["error"]["message"], error.body
        return error.body["error"]["type"]
    raise AssertionError(f"no {kind.__name__}")


def a_message_is_answered(model):
    answer = client.messages.create(model=model, messages=QUESTION, max_tokens=12, **COLD)
    assert "Paris" in answer.content[0].text, answer
    assert answer.stop_reason in ("end_turn", "max_tokens"), answer
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0, answer


def a_message_is_streamed(model):
    with client.messages.stream(model=model, messages=QUESTION, max_tokens=12, **COLD) as stream:
        texts = list(stream.text_stream)
        answer = stream.get_final_message()
    assert "Paris" in "".join(texts) and len(texts) > 1, texts
    assert answer.content[0].text == "".join(texts), answer
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0, answer
    assert answer.stop_reason in ("end_turn", "max_tokens"), answer


def a_tool_is_called_and_its_result_read(model, stream):
    asked = {"model": model, "max_tokens": 100, "tools": [LOOK]}
    if stream:
        with client.messages.stream(messages=QUESTION, **asked) as events:
            answer = events.get_final_message()
    else:
        answer = client.messages.create(messages=QUESTION, **asked)
    assert answer.stop_reason == "tool_use", answer
    call = next(block for block in answer.content if block.type == "tool_use")
    assert call.name == "look" and call.input == {"city": "Paris"}, call
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "It is the capital."}
    messages = QUESTION + [
        {"role": "assistant", "content": [block.to_dict() for block in answer.content]},
        {"role": "user", "content": [result]},
    ]
    answer = client.messages.create(messages=messages, **asked)
    assert answer.stop_reason == "end_turn" and "Paris" in answer.content[0].text, answer


def errors_are_the_sdks_own():
    def ask(client=client, **more):
        return lambda: client.messages.create(**{"model": "ghost", "max_tokens": 9, "messages": QUESTION, **more})

    assert refused(anthropic.NotFoundError, ask()) == "not_found_error"
    assert refused(anthropic.BadRequestError, ask(messages=[])) == "invalid_request_error"
    stranger = anthropic.Anthropic(api_key="wrong", max_retries=0)
    assert refused(anthropic.AuthenticationError, ask(stranger)) == "authentication_error"


def models_are_listed():
    listed = [model.id for model in client.models.list()]
    assert set(models("MODELS")) <= set(listed), listed


for model in models("MODELS"):
    a_message_is_answered(model)
    a_message_is_streamed(model)
for model in models("TOOL_MODELS"):
    a_tool_is_called_and_its_result_read(model, stream=False)
    a_tool_is_called_and_its_result_read(model, stream=True)
errors_are_the_sdks_own()
models_are_listed()
print("anthropic", anthropic.__version__, models("MODELS"), models("TOOL_MODELS"))
