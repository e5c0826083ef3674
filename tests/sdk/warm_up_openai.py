"""The official SDK, whose first questions are those that the service has asked itself."""

import openai

client = openai.OpenAI(max_retries=0)


def is_kept(answer):
    return answer.headers["x-codecrucible-route"] == "cache=memory; attempts=0"


messages = [{"role": "user", "content": "Well?"}]
answer = client.chat.completions.with_raw_response.create(model="coder", messages=messages)
assert is_kept(answer), answer.headers
assert answer.parse().choices[0].message.content, answer.text
print("ok a_chat_that_was_warmed_up")

answer = client.embeddings.with_raw_response.create(model="coder", input=["Well?"])
assert is_kept(answer), answer.headers
print("ok embeddings_that_were_warmed_up")
