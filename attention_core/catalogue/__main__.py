from attention_core.catalogue import table

print(table())
