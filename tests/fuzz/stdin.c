// SPDX-License-Identifier: GPL-2.0-or-later
/* Runs a target without libFuzzer: inputs from stdin, each with its length (4 bytes, little-endian) before it. */
#include <stdio.h>
#include <linux/types.h>

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int main(void)
{
	static u8 data[1 << 20];
	u32 size;

	while (fread(&size, sizeof(size), 1, stdin) == 1) {
		if (size > sizeof(data) || fread(data, 1, size, stdin) != size)
			return 2;
		LLVMFuzzerTestOneInput(data, size);
	}
	return 0;
}
