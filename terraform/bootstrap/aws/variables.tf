variable "region" {
  description = "Region of the state bucket and of the service."
  type        = string
}

variable "name" {
  description = "Name of the service, as the live root has it: roles are made under it."
  type        = string
}

variable "repository" {
  description = "GitHub repository that may deploy, as OWNER/NAME."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$", var.repository))
    error_message = "The repository looks like OWNER/NAME."
  }
}

variable "environment" {
  description = "GitHub environment whose jobs may deploy to this account: staging or production."
  type        = string

  validation {
    condition     = contains(["staging", "production"], var.environment)
    error_message = "The environment is staging or production."
  }
}
