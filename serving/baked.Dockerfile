# docker build --file serving/baked.Dockerfile . — TensorFlow Serving with the models of var/models inside.
ARG TENSORFLOW_SERVING=tensorflow/serving:2.21.0

FROM ${TENSORFLOW_SERVING}
COPY serving/models.config serving/batching.config serving/monitoring.config /etc/tensorflow_serving/
COPY var/models /models
USER 65532:65532
# The image has no HTTP client, but bash.
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8501 && printf 'GET /v1/models/digits HTTP/1.0\\r\\n\\r\\n' >&3 && grep -q '\"AVAILABLE\"' <&3"]
# The image's entry point hands these on.
CMD ["--model_config_file=/etc/tensorflow_serving/models.config", "--monitoring_config_file=/etc/tensorflow_serving/monitoring.config", "--enable_batching", "--batching_parameters_file=/etc/tensorflow_serving/batching.config"]
