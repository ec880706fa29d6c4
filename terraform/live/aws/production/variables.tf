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

variable "domain" {
  description = "The name that callers use, and the Route 53 zone's id or a certificate's ARN."
  type        = object({ name = string, zone = optional(string), certificate_arn = optional(string) })
  default     = null
}

variable "budget" {
  description = "Monthly amount in US dollars."
  type        = object({ amount = number })
  default     = null
}

variable "feedback" {
  description = "The secret of the PostgreSQL URL that labels are kept by; as in the module. Without it no labels are taken."
  type        = object({ database_url_secret = string, kms_key_arn = optional(string), security_group = string })
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
  description = "A network that there is, the database's say; without it one is made."
  type = object({
    vpc_id                   = optional(string)
    task_subnet_ids          = optional(list(string))
    load_balancer_subnet_ids = optional(list(string))
  })
  default = {}
}
