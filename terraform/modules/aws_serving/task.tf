locals {
  grpc_port   = 50051
  ops_port    = 8080
  server_port = 8500
  rest_port   = 8501
  models_path = "/models"
  keys_path   = "/keys"

  loaded_versions = coalesce(var.model_store.loaded_versions, var.model_rollouts ? 3 : 2)

  # What is off unless asked for.
  optional_environment = merge(
    var.model_rollouts ? {
      TENSORGATE_ROLLOUT__PLANS    = "s3://${aws_s3_bucket.models.id}"
      TENSORGATE_ROLLOUT__REPLICAS = tostring(var.scaling.max_instances)
    } : {},
    var.capture == null ? {} : {
      TENSORGATE_CAPTURE__PATH          = "s3://${aws_s3_bucket.models.id}/captured"
      TENSORGATE_CAPTURE__SAMPLING_RATE = tostring(var.capture.sampling_rate)
    },
  )
  secrets = merge(
    { TENSORGATE_RECEIPT_KEY = aws_secretsmanager_secret_version.receipt_key.arn },
    var.auth.receipt_key_fallback ? { TENSORGATE_RECEIPT_KEY_FALLBACKS = "${aws_secretsmanager_secret.receipt_key.arn}::AWSPREVIOUS:" } : {},
    var.feedback == null ? {} : { TENSORGATE_FEEDBACK__DATABASE_URL = var.feedback.database_url_secret },
  )

  gateway_environment = merge({
    TENSORGATE_MODELS           = join(",", var.models)
    TENSORGATE_LISTEN           = "0.0.0.0:${local.grpc_port}"
    TENSORGATE_HTTP             = "127.0.0.1:${local.ops_port}"
    TENSORGATE_BACKEND__ADDRESS = "127.0.0.1:${local.server_port}"
    TENSORGATE_AUTH__ENABLED    = tostring(var.auth.api_keys)
    TENSORGATE_AUTH__KEYS_FILE  = "${local.keys_path}/keys.json"
    # ECS takes the task from the load balancer before it sends SIGTERM.
    TENSORGATE_DRAIN__DELAY = "5"
    TENSORGATE_DRAIN__GRACE = "60"
    # TLS ends at the load balancer, and nothing else reaches the task.
    TENSORGATE_TLS__PLAINTEXT_ANYWHERE = "true"
  }, local.optional_environment, var.settings)

  sync_environment = {
    BUCKET          = aws_s3_bucket.models.id
    MODELS          = join(" ", var.models)
    LOADED_VERSIONS = tostring(local.loaded_versions)
    MODELS_PATH     = local.models_path
    KEYS_SECRET     = var.auth.api_keys ? aws_secretsmanager_secret.keys.arn : ""
    KEYS_PATH       = local.keys_path
    POLL_SECONDS    = tostring(var.model_store.poll_seconds)
  }
}

resource "aws_ecs_task_definition" "this" {
  count = var.foundation_only ? 0 : 1

  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.resources.cpu
  memory                   = var.resources.memory
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn
  tags                     = var.labels

  container_definitions = jsonencode([for name, container in {
    gateway = {
      image        = var.images.gateway
      portMappings = [{ name = "grpc", containerPort = local.grpc_port, hostPort = local.grpc_port, protocol = "tcp", appProtocol = "grpc" }]
      environment  = [for name, value in local.gateway_environment : { name = name, value = value }]
      dockerLabels = { receipt_key_version = tostring(var.auth.receipt_key_version) } # a new key is a new deployment
      secrets      = [for name, arn in local.secrets : { name = name, valueFrom = arn }]
      dependsOn    = [{ containerName = "server", condition = "HEALTHY" }]
      mountPoints  = [{ sourceVolume = "keys", containerPath = local.keys_path, readOnly = true }]
      stopTimeout  = 75
      healthCheck = {
        command  = ["CMD", "python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:${local.ops_port}/livez', timeout=4)"]
        interval = 10, timeout = 5, retries = 3, startPeriod = 60
      }
    }
    server = {
      image = var.images.server
      command = [
        "--port=${local.server_port}",
        "--rest_api_port=${local.rest_port}",
        "--model_config_file=${local.models_path}/models.config",
        "--model_config_file_poll_wait_seconds=60",
      ]
      dependsOn   = [{ containerName = "sync", condition = "HEALTHY" }]
      mountPoints = [{ sourceVolume = "models", containerPath = local.models_path, readOnly = true }]
      # The port opens once the models are loaded. The image has bash and no client for gRPC or HTTP.
      healthCheck = {
        command  = ["CMD", "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/${local.rest_port} && printf 'GET /v1/models/${var.models[0]} HTTP/1.0\\r\\n\\r\\n' >&3 && timeout 4 grep -q '^HTTP/1' <&3"]
        interval = 10, timeout = 5, retries = 3, startPeriod = 300
      }
    }
    # Not essential: without it the task serves what it has, and ECS starts it again.
    sync = {
      image       = var.images.sync
      essential   = false
      entryPoint  = ["bash", "-c"]
      command     = [file("${path.module}/sync.sh")]
      environment = [for name, value in local.sync_environment : { name = name, value = value }]
      mountPoints = [
        { sourceVolume = "models", containerPath = local.models_path, readOnly = false },
        { sourceVolume = "keys", containerPath = local.keys_path, readOnly = false },
      ]
      restartPolicy = { enabled = true }
      healthCheck = {
        command  = ["CMD", "test", "-e", "${local.models_path}/.synchronised"]
        interval = 5, timeout = 5, retries = 10, startPeriod = 300
      }
    }
    } : merge({
      name                   = name
      essential              = true
      readonlyRootFilesystem = true
      linuxParameters        = { initProcessEnabled = true }
      logConfiguration = {
        logDriver = "awslogs"
        options = {
          awslogs-group         = aws_cloudwatch_log_group.this[name].name
          awslogs-region        = var.region
          awslogs-stream-prefix = name
          mode                  = "non-blocking" # a slow log does not slow calls
          max-buffer-size       = "8m"
        }
      }
  }, container)])

  ephemeral_storage {
    size_in_gib = var.resources.disk_gib
  }
  dynamic "volume" {
    for_each = ["models", "keys"]
    content {
      name = volume.value
    }
  }
}
