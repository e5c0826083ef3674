"""The official SDK, against the parts of the API that pass through to a backend which says yes to everything."""

import openai

client = openai.OpenAI(max_retries=0)

assert client.completions.create(model="coder", prompt="Well?").choices[0].text == "Yes."
print("ok completions")

vector = client.embeddings.create(model="coder", input=["Well?"]).data[0].embedding
assert vector == [0.5, 0.25], vector
print("ok embeddings")

response = client.responses.create(model="coder", input="Well?")
assert (response.status, response.output_text) == ("completed", "Yes."), response
print("ok responses")

events = list(client.responses.create(model="coder", input="Well?", stream=True))
assert [event.type for event in events] == ["response.output_text.delta", "response.completed"], events
assert events[0].delta == events[1].response.output_text == "Yes."
print("ok streamed_responses")

try:
    client.embeddings.create(model="nobody", input="Well?")
except openai.NotFoundError as error:
    assert error.code == "model_not_found", error
else:
    raise AssertionError("a model that does not exist has an embedding")
print("ok an_unknown_model_is_a_not_found_error")
