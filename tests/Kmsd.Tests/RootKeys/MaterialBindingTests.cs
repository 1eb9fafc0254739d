using Kms.Client.Protocol;
using Kmsd.RootKeys;

namespace Kmsd.Tests.RootKeys;

public sealed class MaterialBindingTests
{
    private static readonly MaterialBinding s_binding =
        new([9, 8, 7], KeyTag.Parse("000102030405060708090a0b0c0d0e0f"), 258, KeyType.Aes256Gcm96);

    /// <summary>The format of every blob at rest: it may never change without a new first field.</summary>
    [Fact]
    public void The_additional_data_is_label_instance_store_tag_version_type_and_generation()
    {
        byte[] expected =
        [
            0, 0, 0, 15, .. "kmsd/material/1"u8,
            0, 0, 0, 2, 1, 2,
            0, 0, 0, 3, 9, 8, 7,
            0, 0, 0, 16, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
            0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 1, 2,
            0, 0, 0, 12, .. "AES256-GCM96"u8,
            0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 3,
        ];
        Assert.Equal(expected, s_binding.ToAdditionalData([1, 2], 3));
    }

    [Fact]
    public void No_two_bindings_have_the_same_additional_data()
    {
        byte[][] all =
        [
            s_binding.ToAdditionalData([1, 2], 3),
            s_binding.ToAdditionalData([1, 3], 3),
            s_binding.ToAdditionalData([1, 2], 4),
            s_binding.ToAdditionalData([1, 2, 9], 3),
            (s_binding with { StoreId = [9, 8, 6] }).ToAdditionalData([1, 2], 3),
            (s_binding with { Tag = KeyTag.New() }).ToAdditionalData([1, 2], 3),
            (s_binding with { Version = 259 }).ToAdditionalData([1, 2], 3),
            (s_binding with { Type = KeyType.EcdsaP256 }).ToAdditionalData([1, 2], 3),
        ];
        Assert.Equal(all.Length, all.Select(Convert.ToHexString).Distinct().Count());
    }
}
