"""gRPC's own service config: how calls go round the servers, which are left out, and what is tried again."""

import json

from gateway.settings.backend import BackendSettings, may_be_several

# A server is left out for some seconds once most of its answers are errors, never more than half of the servers.
_EJECTION = {
    "interval": "1s",
    "baseEjectionTime": "5s",
    "maxEjectionTime": "60s",
    "maxEjectionPercent": 50,
    "failurePercentageEjection": {
        "threshold": 80,
        "enforcementPercentage": 100,
        "minimumHosts": 2,
        "requestVolume": 10,
    },
    "childPolicy": [{"round_robin": {}}],
}
# A failure costs a token and an answer brings a tenth of one: below half of them nothing is tried again.
_BUDGET = {"maxTokens": 1000, "tokenRatio": 0.1}


def service_config(settings: BackendSettings) -> str:
    """The service config as JSON. Predictions alone are tried again: they change nothing."""
    config: dict[str, object] = {"loadBalancingConfig": [{"outlier_detection_experimental": _EJECTION}]}
    if settings.health_service and may_be_several(settings.addresses):
        config["healthCheckConfig"] = {"serviceName": settings.health_service}
    if settings.attempts > 1:
        config["retryThrottling"] = _BUDGET
        config["methodConfig"] = [
            {
                "name": [{"service": "tensorflow.serving.PredictionService"}],
                "retryPolicy": {
                    "maxAttempts": settings.attempts,
                    "initialBackoff": "0.02s",
                    "maxBackoff": "0.5s",
                    "backoffMultiplier": 3,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    return json.dumps(config)
