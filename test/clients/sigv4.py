"""One request signed by botocore: METHOD URL BODY ACCESS_KEY SECRET SKEW_SECONDS SENT_BODY. Prints status and body as JSON."""

import datetime
import json
import sys
import urllib.error
import urllib.request

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

method, url, body, access_key, secret, skew, sent = sys.argv[1:]
now = botocore.auth.get_current_datetime()
botocore.auth.get_current_datetime = lambda *_, **__: now + datetime.timedelta(seconds=int(skew))
request = AWSRequest(method=method, url=url, data=body.encode(), headers={"content-type": "application/json"})
botocore.auth.SigV4Auth(Credentials(access_key, secret), "execute-api", "us-east-1").add_auth(request)
call = urllib.request.Request(url, sent.encode() if method != "GET" else None, dict(request.headers), method=method)
try:
    with urllib.request.urlopen(call) as answer:
        print(json.dumps({"status": answer.status, "body": answer.read().decode()}))
except urllib.error.HTTPError as error:
    print(json.dumps({"status": error.code, "body": error.read().decode()}))
