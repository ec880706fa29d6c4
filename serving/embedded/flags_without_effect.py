"""TensorFlow Serving's flags that mean nothing here, or that this server cannot honour.

By name: the value that leaves things as they are, which also tells the type, and why no other has an effect.
"""

_LOADING = "versions are loaded and unloaded side by side, on threads of their own"
_TFLITE = "TensorFlow Lite models are not served"
_THREADS = "set --tensorflow_intra_op_parallelism and --tensorflow_inter_op_parallelism"

FLAGS_WITHOUT_EFFECT: dict[str, tuple[bool | int | float | str, str]] = {
    "enable_profiler": (True, "there is no profiler service"),
    "enable_signature_method_name_check": (False, "a signature's method_name is never looked at"),
    "flush_filesystem_caches": (True, "the operating system's caches are left alone"),
    "num_load_threads": (0, _LOADING),
    "num_tflite_interpreters_per_pool": (1, _TFLITE),
    "num_tflite_pools": (0, _TFLITE),
    "num_unload_threads": (0, _LOADING),
    "per_process_gpu_memory_fraction": (0.0, "TensorFlow takes GPU memory as it sees fit"),
    "platform_config_file": ("", "tensorflow is the only platform"),
    "prefer_tflite_model": (False, _TFLITE),
    "remove_unused_fields_from_bundle_metagraph": (True, "TensorFlow keeps what it keeps of a graph"),
    "saved_model_tags": ("serve", "the graph with the tag serve is loaded"),
    "tensorflow_session_config_file": ("", _THREADS),
    "thread_pool_factory_config_file": ("", _THREADS),
    "use_alts_credentials": (False, "ALTS is not spoken"),
    "xla_cpu_compilation_enabled": (False, "whether a graph is compiled is TensorFlow's to say"),
}
