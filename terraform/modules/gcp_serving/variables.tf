variable "name" {
  description = "Name of the service and prefix of what belongs to it."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,24}[a-z0-9]$", var.name))
    error_message = "The name has 2 to 26 lower-case letters, digits and hyphens, and starts with a letter."
  }
}

variable "project_id" {
  description = "Project that everything is made in."
  type        = string
}

variable "region" {
  description = "Region of the service and of the model store, e.g. europe-west1."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "The region looks like europe-west1."
  }
}

variable "images" {
  description = "Images of the two containers, pinned by digest or by a tag other than latest."
  type = object({
    gateway = string
    server  = string
  })

  validation {
    condition = alltrue([
      for image in values(var.images) : can(regex("(@sha256:[0-9a-f]{64}|:[^:/@]+)$", image)) && !endswith(image, ":latest")
    ])
    error_message = "Each image is pinned: NAME@sha256:DIGEST, or NAME:TAG with a tag other than latest."
  }
}

variable "models" {
  description = "Names of the models, each a directory of the model store's bucket."
  type        = list(string)

  validation {
    condition     = length(var.models) == 1
    error_message = "TensorFlow Serving is started for exactly one model."
  }
}

variable "keys_secret_id" {
  description = "Secret Manager secret whose latest version is the gateway's keys file; made outside, so that no key is in the state."
  type        = string
}

variable "scaling" {
  description = "Instances at least and at most, and calls that one instance answers at once."
  type = object({
    min_instances = optional(number, 1)
    max_instances = optional(number, 10)
    concurrency   = optional(number, 80)
  })
  default = {}

  validation {
    condition     = var.scaling.min_instances >= 0 && var.scaling.min_instances <= var.scaling.max_instances
    error_message = "min_instances is 0 or more, and no more than max_instances."
  }
}

variable "invokers" {
  description = "IAM members that may call the service; its gateway wants a key besides. allUsers has to be meant: set allow_public too."
  type        = list(string)
  default     = []
}

variable "allow_public" {
  description = "Whether allUsers may be an invoker, with API keys as the only guard."
  type        = bool
  default     = false
}

variable "labels" {
  description = "Labels of everything that takes labels."
  type        = map(string)
  default     = {}
}
