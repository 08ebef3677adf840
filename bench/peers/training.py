"""What all trainers of the benchmarks have in common: where adapters stand, and what makes a trainer fastest on a processor."""

LORA = dict(
    lora_dropout=0.0,
    bias="none",
    target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
)

# Memory suffices without checkpointing of activations, and the others' steps do not do it either.
FASTEST = dict(
    lr_scheduler_type="constant",
    gradient_checkpointing=False,
    bf16=False,
    use_cpu=True,
    dataloader_pin_memory=False,
    logging_strategy="no",
    save_strategy="no",
    report_to="none",
    disable_tqdm=True,
)
