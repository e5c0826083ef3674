"""Anthropic's SDK, whose first question is one that the service has asked itself."""

import anthropic

client = anthropic.Anthropic(max_retries=0)

answer = client.messages.with_raw_response.create(
    model="coder", max_tokens=16, messages=[{"role": "user", "content": "Well?"}]
)
assert answer.headers["x-codecrucible-route"] == "cache=memory; attempts=0", answer.headers
assert answer.parse().content[0].text, answer.text
print("ok a_message_that_was_warmed_up")
