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
    public               = optional(bool)
    callers              = optional(list(string))
    api_keys             = optional(bool)
    receipt_key_version  = optional(number)
    receipt_key_fallback = optional(bool)
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

variable "feedback" {
  description = "The secret of the PostgreSQL URL that labels are kept by; as in the module. Without it no labels are taken."
  type        = object({ database_url_secret = string })
  default     = null
}

variable "model_rollouts" {
  description = "Whether new model versions are rolled out by plans and evidence; otherwise the highest answers."
  type        = bool
  default     = false
}

variable "capture" {
  description = "The share of requests that is kept in the model store, and for how many days; as in the module. Without it none is."
  type        = object({ sampling_rate = optional(number), days = optional(number) })
  default     = null
}

variable "network" {
  description = "A subnetwork through which the containers call out, to the database say."
  type        = object({ network = string, subnetwork = string, tags = optional(list(string)), all_traffic = optional(bool) })
  default     = null
}
