"""Has models of backends with protocols of their own answer the official OpenAI SDK: MODELS names them, TOOL_MODELS those that call a tool,
RESPONSE_MODELS those that give responses, CHATS_ONLY_MODEL one of these that calls tools and whose backend knows chats only."""

import json
import os

import openai

client = openai.OpenAI(max_retries=0, timeout=600)
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
LOOK = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Looks something up",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def models(name):
    return os.environ.get(name, "").split()


def a_chat_is_answered(model):
    answer = client.chat.completions.create(model=model, messages=QUESTION, max_tokens=12, temperature=0)
    assert "Paris" in answer.choices[0].message.content, answer
    assert answer.choices[0].finish_reason in ("stop", "length"), answer
    assert answer.usage.prompt_tokens > 0 and answer.usage.completion_tokens > 0, answer


def a_chat_is_streamed(model):
    options = {"include_usage": True}
    stream = client.chat.completions.create(
        model=model, messages=QUESTION, max_tokens=12, temperature=0, stream=True, stream_options=options
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert "Paris" in text and len(chunks) > 4, (text, chunks)
    assert chunks[-1].usage.completion_tokens > 0, chunks[-1]


def a_tool_is_called_and_its_result_read(model, stream):
    messages = list(QUESTION)
    if stream:
        with client.chat.completions.stream(model=model, messages=messages, tools=[LOOK]) as events:
            answer = events.get_final_completion()
    else:
        answer = client.chat.completions.create(model=model, messages=messages, tools=[LOOK])
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls", answer
    call = choice.message.tool_calls[0]
    assert call.function.name == "look" and json.loads(call.function.arguments) == {"city": "Paris"}, call
    messages += [
        choice.message.to_dict(),
        {"role": "tool", "tool_call_id": call.id, "content": "It is the capital."},
    ]
    answer = client.chat.completions.create(model=model, messages=messages, tools=[LOOK])
    assert answer.choices[0].finish_reason == "stop", answer
    assert "Paris" in answer.choices[0].message.content, answer


def a_response_is_given(model):
    answer = client.responses.create(model=model, input=QUESTION, max_output_tokens=24, temperature=0)
    assert "Paris" in answer.output_text and answer.status in ("completed", "incomplete"), answer
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0, answer


def a_response_is_streamed(model):
    with client.responses.stream(model=model, input=QUESTION, max_output_tokens=24, temperature=0) as events:
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        answer = events.get_final_response()
    assert "Paris" in text and text == answer.output_text, (text, answer)


def a_tool_is_called_by_a_response(model):
    look = {"type": "function", "strict": False, **LOOK["function"]}
    answer = client.responses.create(model=model, input=QUESTION, tools=[look])
    call = next(item for item in answer.output if item.type == "function_call")
    assert call.name == "look" and json.loads(call.arguments) == {"city": "Paris"}, call
    said = [item.to_dict() for item in answer.output]
    said += [{"type": "function_call_output", "call_id": call.call_id, "output": "It is the capital."}]
    answer = client.responses.create(model=model, input=QUESTION + said, tools=[look])
    assert "Paris" in answer.output_text, answer


for model in models("MODELS"):
    a_chat_is_answered(model)
    a_chat_is_streamed(model)
for model in models("RESPONSE_MODELS"):
    a_response_is_given(model)
    a_response_is_streamed(model)
a_tool_is_called_by_a_response(os.environ["CHATS_ONLY_MODEL"])
for model in models("TOOL_MODELS"):
    a_tool_is_called_and_its_result_read(model, stream=False)
    a_tool_is_called_and_its_result_read(model, stream=True)
print("openai", openai.__version__, models("MODELS"), models("TOOL_MODELS"))
