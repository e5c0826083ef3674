"""The official SDK, against a service that permits its list of models and nothing else."""

import openai

client = openai.OpenAI(max_retries=0)

assert "coder" in [model.id for model in client.models.list()]
for stream in (False, True):
    try:
        client.chat.completions.create(model="coder", messages=[{"role": "user", "content": "hi"}], stream=stream)
    except openai.PermissionDeniedError as error:
        assert (error.status_code, error.code, error.param) == (403, "not_permitted", "model"), error
    else:
        raise AssertionError("it was let through")
print("denied as the SDK knows it")
