variable "name" {
  description = "Name of the service and prefix of what belongs to it."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,22}[a-z0-9]$", var.name))
    error_message = "The name has 2 to 24 lower-case letters, digits and hyphens, starts with a letter and ends with no hyphen."
  }
}

variable "region" {
  description = "Region of everything, e.g. eu-west-1; the provider's."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "The region looks like eu-west-1 (a region of AWS, not a zone, and not another cloud's)."
  }
}

variable "labels" {
  description = "Tags of everything that takes tags."
  type        = map(string)
  default     = {}
}

variable "images" {
  description = "Images of the gateway, the model server and the copier of the model store, each pinned by digest or by a tag other than latest. gateway and server are needed unless foundation_only; sync is any image with bash and the AWS CLI."
  type = object({
    gateway = string
    server  = string
    sync    = optional(string, "public.ecr.aws/aws-cli/aws-cli:2.27.50")
  })
  default = null

  validation {
    condition     = var.images != null || var.foundation_only
    error_message = "images is missing: push both images to the registry and name them, or set foundation_only = true to make only what they need."
  }
  validation {
    condition = var.images == null ? true : alltrue([
      for image in values(var.images) :
      can(regex("^[^@\\s]+(@sha256:[0-9a-f]{64}|:[A-Za-z0-9_][A-Za-z0-9_.-]*)$", image)) && !endswith(image, ":latest")
    ])
    error_message = "Each image is pinned: NAME@sha256:DIGEST, or NAME:TAG with a tag other than latest."
  }
}

variable "foundation_only" {
  description = "Make the registry, the model store, the secrets and the identities but no service: the first step, before there are images, keys and a model."
  type        = bool
  default     = false
}

variable "models" {
  description = "Names of the models, each a directory of the model store."
  type        = list(string)

  validation {
    condition     = length(var.models) > 0 && length(distinct(var.models)) == length(var.models)
    error_message = "models names one model at least, and none twice."
  }
  validation {
    condition     = alltrue([for model in var.models : can(regex("^[A-Za-z0-9][A-Za-z0-9_.-]*$", model))])
    error_message = "A model's name has letters, digits, underscores, dots and hyphens: it is a directory's name."
  }
}

variable "scaling" {
  description = "Tasks at least and at most; CPU in per cent and calls a minute of a task, which scaling out keeps below."
  type = object({
    min_instances    = optional(number, 2)
    max_instances    = optional(number, 10)
    cpu_percent      = optional(number, 60)
    calls_per_minute = optional(number, 6000)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.scaling.min_instances >= 1 && var.scaling.min_instances <= var.scaling.max_instances
    error_message = "min_instances is 1 or more and no more than max_instances."
  }
  validation {
    condition     = var.scaling.cpu_percent >= 10 && var.scaling.cpu_percent <= 90 && var.scaling.calls_per_minute >= 1
    error_message = "cpu_percent is between 10 and 90, calls_per_minute 1 or more."
  }
}

variable "resources" {
  description = "CPU units (1024 a CPU) and MiB of a task, which its containers share; GiB of its disk, which holds the loaded models."
  type = object({
    cpu      = optional(number, 1024)
    memory   = optional(number, 3072)
    disk_gib = optional(number, 21)
  })
  default  = {}
  nullable = false

  validation {
    condition = contains(flatten([
      for cpu, sizes in { 512 = range(1024, 4097, 1024), 1024 = range(2048, 8193, 1024), 2048 = range(4096, 16385, 1024), 4096 = range(8192, 30721, 1024), 8192 = range(16384, 61441, 4096) } :
      [for memory in sizes : "${cpu}/${memory}"]
    ]), "${var.resources.cpu}/${var.resources.memory}")
    error_message = "Fargate has no such size: 512 CPU units go with 1024 to 4096 MiB, 1024 with 2048 to 8192, 2048 with 4096 to 16384, 4096 with 8192 to 30720, in steps of 1024; 8192 with 16384 to 61440 in steps of 4096."
  }
  validation {
    condition     = var.resources.disk_gib >= 21 && var.resources.disk_gib <= 200
    error_message = "disk_gib is between 21 and 200."
  }
}

variable "model_store" {
  description = <<-EOT
    The bucket of the models. publishers: who may add versions (never change or delete one), as ARNs of
    IAM roles.
    loaded_versions: versions of each model in memory, by default two so that a new one can be compared with the one before.
    poll_seconds: how often tasks look for new versions and keys.
    noncurrent_days: how long what was deleted or replaced can be had back.
  EOT
  type = object({
    publishers      = optional(list(string), [])
    loaded_versions = optional(number)
    poll_seconds    = optional(number, 30)
    noncurrent_days = optional(number, 30)
    force_destroy   = optional(bool, false)
  })
  default  = {}
  nullable = false

  validation {
    condition     = coalesce(var.model_store.loaded_versions, 1) >= 1 && var.model_store.noncurrent_days >= 1 && var.model_store.poll_seconds >= 5
    error_message = "loaded_versions and noncurrent_days are 1 or more, poll_seconds 5 or more."
  }
  validation {
    condition     = alltrue([for arn in var.model_store.publishers : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/.+", arn))])
    error_message = "A publisher is the ARN of a role or user such as arn:aws:iam::123456789012:role/NAME; * cannot be one."
  }
}

variable "auth" {
  description = <<-EOT
    Who may call. public: the load balancer has public addresses. callers: CIDR blocks and security groups that reach it; 0.0.0.0/0
    needs public. api_keys: whether the gateway wants a key. receipt_key_version: raise it to have a new key sign prediction ids;
    receipt_key_fallback: whether ids that the key before signed are still taken.
  EOT
  type = object({
    public               = optional(bool, false)
    callers              = optional(list(string), [])
    api_keys             = optional(bool, true)
    receipt_key_version  = optional(number, 1)
    receipt_key_fallback = optional(bool, false)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.auth.public || !contains(var.auth.callers, "0.0.0.0/0")
    error_message = "0.0.0.0/0 lets everybody call: set auth.public = true if that is meant."
  }
  validation {
    condition     = !var.auth.receipt_key_fallback || var.auth.receipt_key_version > 1
    error_message = "There is no key before the first: raise auth.receipt_key_version with auth.receipt_key_fallback."
  }
  validation {
    condition     = var.auth.api_keys || !var.auth.public
    error_message = "A public service asks for keys: leave auth.api_keys = true, or set auth.public = false."
  }
  validation {
    condition     = alltrue([for caller in var.auth.callers : can(cidrnetmask(caller)) || can(regex("^sg-[0-9a-f]+$", caller))])
    error_message = "A caller is a CIDR block such as 10.0.0.0/8, or a security group such as sg-0123456789abcdef0."
  }
}

variable "domain" {
  description = "Name that callers use, for gRPC needs TLS. zone: the Route 53 hosted zone's id, to write the record and prove a certificate; or certificate_arn: a certificate that there is. Needed unless foundation_only."
  type = object({
    name            = string
    zone            = optional(string)
    certificate_arn = optional(string)
  })
  default = null

  validation {
    condition     = var.domain != null || var.foundation_only
    error_message = "domain is missing: gRPC through a load balancer needs TLS, and TLS a name."
  }
  validation {
    condition     = var.domain == null ? true : can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,}$", var.domain.name))
    error_message = "domain.name looks like digits.example.com."
  }
  validation {
    condition     = var.domain == null ? true : var.domain.zone != null || var.domain.certificate_arn != null
    error_message = "domain needs a zone, in which a certificate is proven, or the certificate_arn of one."
  }
}

variable "settings" {
  description = "More settings of the gateway, by the name of their variable, e.g. { TENSORGATE_LIMITS__MAX_INSTANCES = \"64\" }. Never a secret."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.settings) : startswith(name, "TENSORGATE_")])
    error_message = "Each setting is named as the gateway's environment variable: TENSORGATE_…; `python -m gateway --help` lists them."
  }
  validation {
    condition     = length(setintersection(keys(var.settings), ["TENSORGATE_RECEIPT_KEY", "TENSORGATE_RECEIPT_KEY_FALLBACKS", "TENSORGATE_AUTH__ENABLED", "TENSORGATE_FEEDBACK__DATABASE_URL"])) == 0
    error_message = "Secrets come by reference: the receipt keys are this module's own, feedback names the database's. auth.api_keys says whether keys are asked for."
  }
}

variable "feedback" {
  description = "Labels that callers bring back (docs/quality.md), kept in PostgreSQL. database_url_secret: ARN of the secret whose value is postgresql://USER:PASSWORD@HOST/DATABASE; kms_key_arn: what encrypts it, if not AWS's own key; security_group: the database's, which is opened to the tasks on port 5432 (its network is `network`)."
  type = object({
    database_url_secret = string
    kms_key_arn         = optional(string)
    security_group      = string
  })
  default = null

  validation {
    condition     = var.feedback == null ? true : can(regex("^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[^:]+$", var.feedback.database_url_secret))
    error_message = "feedback.database_url_secret is the ARN of a secret, such as arn:aws:secretsmanager:eu-west-1:123456789012:secret:digits-feedback-a1b2c3: not the URL itself."
  }
  validation {
    condition     = var.feedback == null ? true : can(regex("^sg-[0-9a-f]+$", var.feedback.security_group))
    error_message = "feedback.security_group is the database's, such as sg-0123456789abcdef0."
  }
}

variable "model_rollouts" {
  description = "Roll-outs of model versions (docs/rollouts.md): the gateways keep their plans in the model store, and may write there nothing else. loaded_versions is then 3 by default."
  type        = bool
  default     = false

  validation {
    condition     = !var.model_rollouts || coalesce(var.model_store.loaded_versions, 3) >= 3
    error_message = "A roll-out wants the stable version, the candidate and what is published meanwhile: leave model_store.loaded_versions out, or make it 3 or more."
  }
}

variable "capture" {
  description = "A sample of the requests and answers (docs/capture.md), under captured/ in the model store, where publishers can read it: the share of requests, and the days that they are kept."
  type = object({
    sampling_rate = optional(number, 0.01)
    days          = optional(number, 30)
  })
  default = null

  validation {
    condition     = var.capture == null ? true : var.capture.sampling_rate > 0 && var.capture.sampling_rate <= 1 && var.capture.days >= 1
    error_message = "capture.sampling_rate is more than 0 and no more than 1, days 1 or more."
  }
  validation {
    condition     = var.capture == null || !contains(var.models, "captured")
    error_message = "captured/ in the model store is where requests are kept: give the model another name, or leave capture out."
  }
}

variable "rollout" {
  description = "How a new task definition takes over: `percent` of the calls for `canary_minutes`, then all; what was before waits `bake_minutes` more. An alarm or a failing task in that time brings it back. percent 100 moves everything at once (blue/green)."
  type = object({
    percent        = optional(number, 10)
    canary_minutes = optional(number, 10)
    bake_minutes   = optional(number, 5)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.rollout.percent > 0 && var.rollout.percent <= 100
    error_message = "rollout.percent is more than 0 and no more than 100: the new tasks' share at first."
  }
  validation {
    condition     = min(var.rollout.canary_minutes, var.rollout.bake_minutes) >= 0 && max(var.rollout.canary_minutes, var.rollout.bake_minutes) <= 1440
    error_message = "canary_minutes and bake_minutes are between 0 and 1440."
  }
}

variable "alerts" {
  description = "Whom to tell, and from when: the share of calls that the service fails, and the 99th percentile of a call in milliseconds."
  type = object({
    emails      = optional(list(string), [])
    error_ratio = optional(number, 0.01)
    latency_ms  = optional(number, 500)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.alerts.error_ratio > 0 && var.alerts.error_ratio < 1 && var.alerts.latency_ms > 0
    error_message = "error_ratio is between 0 and 1, latency_ms more than 0."
  }
  validation {
    condition     = alltrue([for email in var.alerts.emails : can(regex("^[^@\\s]+@[^@\\s]+$", email))])
    error_message = "alerts.emails are e-mail addresses."
  }
}

variable "log_retention_days" {
  description = "Days that the logs are kept."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days is one that CloudWatch has: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, …"
  }
}

variable "deletion_protection" {
  description = "Whether the load balancer refuses to be deleted and secrets can be had back for 30 days."
  type        = bool
  default     = true
}

variable "network" {
  description = "Where the tasks run: an existing VPC with private subnets (with a way out) and those of the load balancer (public ones if auth.public) in two zones; or, without vpc_id, a new one of these addresses with 1 or 2 NAT gateways."
  type = object({
    vpc_id                   = optional(string)
    task_subnet_ids          = optional(list(string), [])
    load_balancer_subnet_ids = optional(list(string), [])
    cidr                     = optional(string, "10.80.0.0/16")
    nat_gateways             = optional(number, 2)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.network.vpc_id == null || length(var.network.task_subnet_ids) >= 2 && length(var.network.load_balancer_subnet_ids) >= 2
    error_message = "With vpc_id, task_subnet_ids and load_balancer_subnet_ids have two subnets each, in two zones."
  }
}

variable "budget" {
  description = "Monthly budget of the account in US dollars; mails at 50, 90 and 100 per cent to alerts.emails."
  type        = object({ amount = number })
  default     = null

  validation {
    condition     = var.budget == null ? true : var.budget.amount >= 1 && length(var.alerts.emails) > 0
    error_message = "The budget's amount is 1 or more, and alerts.emails names whom to tell."
  }
}
