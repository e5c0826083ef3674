"""The official SDK from outside the cluster: a token, the models, a chat, and a streamed one, each by way of a gateway."""

import os
import time

import httpx2
import openai

gateway, host = os.environ["GATEWAY"], os.environ["HOST"]
# The name of the host leads nowhere here; the gateway tells services apart by it.
named = {"Host": host}
form = {"grant_type": "client_credentials"}
credentials = (os.environ["ID"], os.environ["SECRET"])


def ask_for_token():
    return httpx2.post(f"{gateway}/oauth/token", data=form, headers=named, auth=credentials)


# A gateway says that it has accepted a route before it has led anybody there.
granted, deadline = ask_for_token(), time.monotonic() + 60
while granted.status_code != 200 and time.monotonic() < deadline:
    time.sleep(0.2)
    granted = ask_for_token()
assert granted.status_code == 200, granted.text
token = granted.json()["access_token"]

client = openai.OpenAI(base_url=f"{gateway}/v1", api_key=token, default_headers=named, max_retries=0)
model = client.models.list().data[0].id
messages = [{"role": "user", "content": "Say yes."}]
answer = client.chat.completions.create(model=model, messages=messages, max_tokens=4)
assert answer.choices[0].message.content, answer
chunks = list(client.chat.completions.create(model=model, messages=messages, max_tokens=4, stream=True))
assert len(chunks) > 1, chunks
print(f"the SDK reaches {host} from outside, in {len(chunks)} chunks")
