variable "region" {
  description = "Region of everything."
  type        = string
}

variable "images" {
  description = "Images by digest, as the build wrote them."
  type        = object({ gateway = string, server = string })
  default     = null
}

variable "foundation_only" {
  description = "First step of a new environment: no service yet, only what images, keys and models are put into."
  type        = bool
  default     = false
}

variable "publishers" {
  description = "Who may add model versions."
  type        = list(string)
  default     = []
}

variable "auth" {
  description = "Who may call; as in the module."
  type = object({
    public              = optional(bool)
    callers             = optional(list(string))
    api_keys            = optional(bool)
    receipt_key_version = optional(number)
  })
  default = {}
}

variable "emails" {
  description = "Whom alerts are mailed to."
  type        = list(string)
  default     = []
}

variable "project_id" {
  description = "Project of this environment, prepared by terraform/bootstrap/gcp."
  type        = string
}

variable "domain" {
  description = "A name of one's own, and the Cloud DNS zone to write it to."
  type        = object({ name = string, zone = optional(string) })
  default     = null
}

variable "rollout" {
  description = "The revision that stays stable, and the newest's share in per cent; null gives the newest everything."
  type        = object({ stable = string, percent = number })
  default     = null
}

variable "budget" {
  description = "Billing account and monthly amount."
  type        = object({ billing_account = string, amount = number })
  default     = null
}
