variable "name" {
  description = "Name of the service and prefix of what belongs to it."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,22}[a-z0-9]$", var.name))
    error_message = "The name has 2 to 24 lower-case letters, digits and hyphens, starts with a letter and ends with no hyphen."
  }
}

variable "region" {
  description = "Region of the service and of the model store, e.g. europe-west1."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "The region looks like europe-west1 (a region of Google Cloud, not a zone, and not another cloud's)."
  }
}

variable "labels" {
  description = "Labels of everything that takes labels."
  type        = map(string)
  default     = {}
}

variable "images" {
  description = "Images of the two containers, each pinned by digest or by a tag other than latest. Needed unless foundation_only."
  type = object({
    gateway = string
    server  = string
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
  description = "Instances at least and at most, and calls that one instance answers at once."
  type = object({
    min_instances = optional(number, 1)
    max_instances = optional(number, 10)
    concurrency   = optional(number, 80)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.scaling.min_instances >= 0 && var.scaling.min_instances <= var.scaling.max_instances && var.scaling.max_instances > 0
    error_message = "min_instances is 0 or more and no more than max_instances, which is 1 or more."
  }
  validation {
    condition     = var.scaling.concurrency >= 1 && var.scaling.concurrency <= 1000
    error_message = "concurrency is between 1 and 1000, Cloud Run's limit."
  }
}

variable "resources" {
  description = "CPUs and memory of each container."
  type = object({
    gateway = optional(object({ cpu = optional(string, "1"), memory = optional(string, "512Mi") }), {})
    server  = optional(object({ cpu = optional(string, "1"), memory = optional(string, "1Gi") }), {})
  })
  default  = {}
  nullable = false
}

variable "model_store" {
  description = <<-EOT
    The bucket of the models. publishers: who may add versions (never change or delete one), as IAM members.
    loaded_versions: versions of each model in memory, by default two so that a new one can be compared with the one before.
    noncurrent_days: how long what was deleted or replaced can be had back.
  EOT
  type = object({
    publishers      = optional(list(string), [])
    loaded_versions = optional(number)
    noncurrent_days = optional(number, 30)
    force_destroy   = optional(bool, false)
  })
  default  = {}
  nullable = false

  validation {
    condition     = coalesce(var.model_store.loaded_versions, 1) >= 1 && var.model_store.noncurrent_days >= 1
    error_message = "loaded_versions and noncurrent_days are 1 or more."
  }
  validation {
    condition     = alltrue([for member in var.model_store.publishers : can(regex("^(user|group|serviceAccount|principal|principalSet):.+", member))])
    error_message = "A publisher is an IAM member such as serviceAccount:NAME@PROJECT.iam.gserviceaccount.com; allUsers cannot be one."
  }
}

variable "auth" {
  description = <<-EOT
    Who may call. public: reachable from the internet, not only from the project's networks. callers: IAM members that Cloud Run
    lets through; allUsers leaves the guarding to the gateway's keys and needs public. api_keys: whether the gateway wants a
    key besides. receipt_key_version: raise it to have a new key sign prediction ids;
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
    condition     = var.auth.public || !contains(var.auth.callers, "allUsers") && !contains(var.auth.callers, "allAuthenticatedUsers")
    error_message = "allUsers and allAuthenticatedUsers let everybody call: set auth.public = true if that is meant."
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
    condition     = alltrue([for member in var.auth.callers : can(regex("^(allUsers|allAuthenticatedUsers|(user|group|serviceAccount|domain|principal|principalSet):.+)$", member))])
    error_message = "A caller is an IAM member such as serviceAccount:NAME@PROJECT.iam.gserviceaccount.com."
  }
}

variable "domain" {
  description = "A name of one's own: a load balancer with a managed certificate, TLS 1.2 at least and a limit on calls per address. zone: the Cloud DNS managed zone to write the record to; without it, point the name at the output `address`."
  type = object({
    name             = string
    zone             = optional(string)
    calls_per_minute = optional(number, 6000)
  })
  default = null

  validation {
    condition     = var.domain == null ? true : can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,}$", var.domain.name))
    error_message = "domain.name looks like digits.example.com."
  }
  validation {
    condition     = var.domain == null || var.auth.public
    error_message = "domain makes a load balancer that the internet reaches: set auth.public = true if that is meant."
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
  description = "Labels that callers bring back (docs/quality.md), kept in PostgreSQL. database_url_secret: the secret of this project whose newest version is postgresql://USER:PASSWORD@HOST/DATABASE; a private address is reached through `network`."
  type        = object({ database_url_secret = string })
  default     = null

  validation {
    condition     = var.feedback == null ? true : can(regex("^[A-Za-z0-9_-]{1,255}$", var.feedback.database_url_secret))
    error_message = "feedback.database_url_secret is the name of a secret in Secret Manager, such as digits-feedback: neither the URL itself nor a path."
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
  description = "null: the newest revision answers all calls. Otherwise `stable`, a revision's name, keeps them but for `percent`, which the newest answers under the tag candidate."
  type = object({
    stable  = string
    percent = number
  })
  default = null

  validation {
    condition     = var.rollout == null ? true : var.rollout.percent >= 0 && var.rollout.percent <= 100 && floor(var.rollout.percent) == var.rollout.percent
    error_message = "rollout.percent is a whole number from 0 to 100: the new revision's share."
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
  description = "Days that the service's own log is kept."
  type        = number
  default     = 30

  validation {
    condition     = var.log_retention_days >= 1 && var.log_retention_days <= 3650
    error_message = "log_retention_days is between 1 and 3650."
  }
}

variable "deletion_protection" {
  description = "Whether Terraform refuses to delete the service."
  type        = bool
  default     = true
}

variable "project_id" {
  description = "Project that everything is made in; terraform/bootstrap/gcp turns its services on."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "The project's id has 6 to 30 lower-case letters, digits and hyphens; it is not the project's name or number."
  }
}

variable "network" {
  description = "A subnetwork through which the containers call out (Direct VPC egress), with network tags for its firewall. all_traffic: calls to public addresses too, for a fixed address by Cloud NAT."
  type = object({
    network     = string
    subnetwork  = string
    tags        = optional(list(string), [])
    all_traffic = optional(bool, false)
  })
  default = null
}

variable "budget" {
  description = "Monthly budget of the project, in whole units of the billing account's currency; mails at 50, 90 and 100 per cent. Whoever applies it needs roles/billing.costsManager on the billing account."
  type = object({
    billing_account = string
    amount          = number
  })
  default = null

  validation {
    condition     = var.budget == null ? true : var.budget.amount >= 1 && can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.budget.billing_account))
    error_message = "budget.billing_account looks like 012345-6789AB-CDEF01, and the amount is 1 or more."
  }
}
