"""An OpenID Connect issuer on loopback: keys, tokens, and whatever a bad one would answer."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

AUDIENCE = "https://gateway.test"


class Issuer:
    """Serves its configuration and keys; `behaviour` replaces the answer to a path."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.hang = threading.Event()
        self.behaviour: dict[str, bytes | int] = {}
        """By path: a body, or a status without one."""
        self.slow = False
        """Whether answers take for ever."""
        self._keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        self.rotate("k1")
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.requests.append(self.path)
                if issuer.slow:
                    issuer.hang.wait(30)
                answer = issuer.behaviour.get(self.path, issuer._document(self.path))
                body = answer if isinstance(answer, bytes) else b""
                self.send_response(answer if isinstance(answer, int) else 200)
                self.send_header("Location", f"{issuer.url}/elsewhere")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.hang.set()
        self._server.shutdown()
        self._server.server_close()

    def rotate(self, *key_ids: str) -> None:
        """Replaces the keys: those of these names stay, or are made."""
        self._keys = {name: self._keys.get(name) or ec.generate_private_key(ec.SECP256R1()) for name in key_ids}

    def token(self, key_id: str = "k1", *, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token, good for an hour but for `claims`, where None takes one away."""
        return self.signed(self._keys[key_id], "ES256", {"kid": key_id} | (headers or {}), **claims)

    def signed(self, key: Any, algorithm: str, headers: dict[str, Any], **claims: Any) -> str:
        """A token signed by any key."""
        content = {"iss": self.url, "aud": AUDIENCE, "sub": "ada", "exp": int(time.time()) + 3600} | claims
        content = {name: value for name, value in content.items() if value is not None}
        return jwt.encode(content, key, algorithm, headers)

    def jwk(self, key_id: str) -> dict[str, Any]:
        """The public key, as it is published."""
        public = jwt.algorithms.ECAlgorithm.to_jwk(self._keys[key_id].public_key(), as_dict=True)
        return public | {"kid": key_id, "use": "sig", "alg": "ES256"}

    def _document(self, path: str) -> bytes | int:
        if path == "/.well-known/openid-configuration":
            return json.dumps({"issuer": self.url, "jwks_uri": f"{self.url}/keys"}).encode()
        if path == "/keys":
            return json.dumps({"keys": [self.jwk(key_id) for key_id in self._keys]}).encode()
        return 404
