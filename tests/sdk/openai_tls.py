"""The official SDK over TLS, which believes the authority of its Secret and nobody else."""

import os
import socket
import ssl
from urllib.parse import urlsplit

import httpx2
import openai

# The service's name leads nowhere outside the cluster; its port is forwarded here.
host = urlsplit(os.environ["OPENAI_BASE_URL"]).hostname
resolve = socket.getaddrinfo
socket.getaddrinfo = lambda name, *rest, **more: resolve("127.0.0.1" if name == host else name, *rest, **more)

believing = ssl.create_default_context(cafile=os.environ["AUTHORITY"])
client = openai.OpenAI(max_retries=0, http_client=httpx2.Client(verify=believing))
assert [model.id for model in client.models.list()], "no models"

try:
    openai.OpenAI(max_retries=0).models.list()
except openai.APIConnectionError as error:
    assert "CERTIFICATE_VERIFY_FAILED" in str(error.__cause__), error.__cause__
else:
    raise AssertionError("a client that does not know the authority was let in")
print("the SDK speaks TLS")
