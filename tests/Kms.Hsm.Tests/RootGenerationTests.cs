using System.Buffers.Binary;
using System.Security.Cryptography;
using Net.Pkcs11Interop.Common;

namespace Kms.Hsm.Tests;

public sealed class RootGenerationTests : IDisposable
{
    private const int Overhead = 28;

    private static readonly byte[] s_data = "what it belongs to"u8.ToArray();

    private Token _token = SoftHsm.Open();
    private readonly RootGenerationDescriptor _descriptor;
    private readonly RootGeneration _root;

    public RootGenerationTests()
    {
        _descriptor = _token.CreateGeneration(1, SoftHsm.InstanceId);
        _root = _token.OpenGeneration(_descriptor);
    }

    public void Dispose()
    {
        try
        {
            _token.DestroyGeneration(_descriptor);
        }
        finally
        {
            _token.Dispose();
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(32)]
    [InlineData(4096)]
    public void What_was_sealed_opens_again(int length)
    {
        byte[] expected = RandomNumberGenerator.GetBytes(length);
        using SecretBytes material = new(expected.AsSpan().ToArray());
        byte[] blob = _root.Seal(material, s_data);
        Assert.Equal(length + Overhead, blob.Length);
        Assert.Equal(expected, Open(blob, s_data));
    }

    [Fact]
    public void No_additional_data_is_additional_data_too()
    {
        byte[] blob = Seal(32, []);
        Assert.Equal(32, Open(blob, []).Length);
        Refused(blob, s_data);
    }

    [Fact]
    public void One_text_is_never_sealed_twice_alike()
    {
        using SecretBytes material = new(32, bytes => bytes.Fill(7));
        byte[] first = _root.Seal(material, s_data);
        byte[] second = _root.Seal(material, s_data);
        Assert.NotEqual(first[..12], second[..12]);
        Assert.NotEqual(first[12..], second[12..]);
    }

    [Fact]
    public void Other_additional_data_is_refused()
    {
        byte[] blob = Seal(32, s_data);
        Refused(blob, []);
        Refused(blob, "what it belongs tp"u8);
        Refused(blob, [.. s_data, 0]);
        _ = Open(blob, s_data);
    }

    [Fact]
    public void A_blob_changed_in_any_bit_is_refused_and_the_token_goes_on_working()
    {
        byte[] blob = Seal(32, s_data);
        for (int i = 0; i < blob.Length * 8; i++)
        {
            byte[] changed = [.. blob];
            changed[i / 8] ^= (byte)(1 << (i % 8));
            Refused(changed, s_data);
        }

        Assert.Equal(32, Open(blob, s_data).Length);
    }

    [Fact]
    public void A_blob_cut_anywhere_or_grown_is_refused()
    {
        byte[] blob = Seal(32, s_data);
        for (int length = 0; length < blob.Length; length++)
        {
            Refused(blob.AsSpan(0, length), s_data);
            Refused(blob.AsSpan(blob.Length - length), s_data);
        }

        Refused([.. blob, 0], s_data);
        Assert.Equal(32, Open(blob, s_data).Length);
    }

    [Fact]
    public void A_blob_of_another_generation_is_refused()
    {
        RootGenerationDescriptor second = _token.CreateGeneration(2, SoftHsm.InstanceId);
        try
        {
            RootGeneration other = _token.OpenGeneration(second);
            using SecretBytes material = new(32, bytes => bytes.Fill(7));
            byte[] blob = other.Seal(material, s_data);
            Refused(blob, s_data);
            using SecretBytes opened = other.Open(blob, s_data);
            Assert.Equal(32, opened.Length);
        }
        finally
        {
            _token.DestroyGeneration(second);
        }
    }

    [Fact]
    public void A_session_in_which_an_encryption_failed_half_way_is_not_used_again()
    {
        using FaultyModule module = new();
        Reopen(sessions: 1);
        RootGeneration root = _token.OpenGeneration(_descriptor);
        using SecretBytes material = new(32, bytes => bytes.Fill(7));
        ulong before = _token.Operate(session => session);
        FaultyModule.FailNextEncryption();
        TokenException refusal = Assert.Throws<TokenException>(() => root.Seal(material, s_data));
        Assert.Equal(TokenFault.Unavailable, refusal.Fault);
        Assert.Equal("C_Encrypt", Assert.IsType<Pkcs11Exception>(refusal.InnerException).Function);

        // With its EncryptInit still active the old session would refuse this.
        Assert.Equal(60, root.Seal(material, s_data).Length);
        Assert.NotEqual(before, _token.Operate(session => session));
    }

    [Fact]
    public void The_same_label_derives_the_same_key_also_after_a_restart()
    {
        byte[] first = Derive(_root, "rows");
        Assert.Equal(first, Derive(_root, "rows"));
        Reopen(sessions: 4);
        Assert.Equal(first, Derive(_token.OpenGeneration(_descriptor), "rows"));
        Assert.Equal(32, first.Length);
    }

    [Fact]
    public void Another_label_instance_or_generation_derives_another_key()
    {
        byte[] otherInstance = [.. SoftHsm.InstanceId.Reverse()];
        RootGenerationDescriptor second = _token.CreateGeneration(2, SoftHsm.InstanceId);
        RootGenerationDescriptor elsewhere = _token.CreateGeneration(1, otherInstance);
        try
        {
            byte[][] keys =
            [
                Derive(_root, "rows"), Derive(_root, "rowt"), Derive(_root, "row"), Derive(_token.OpenGeneration(second), "rows"),
                Derive(_token.OpenGeneration(elsewhere), "rows"),
            ];
            Assert.Equal(keys.Length, keys.Select(Convert.ToHexString).Distinct().Count());
        }
        finally
        {
            _token.DestroyGeneration(second);
            _token.DestroyGeneration(elsewhere);
        }
    }

    [Fact]
    public void A_derived_key_is_the_hmac_of_label_instance_and_generation_and_nothing_else()
    {
        // The mac key itself in another token object, with a value that is known: the derivation is then .NET's to repeat.
        byte[] value = RandomNumberGenerator.GetBytes(32);
        using var planted = PlantedKey.InPlaceOf(_token, _descriptor, RootRole.Mac, value);
        byte[] check = HMACSHA256.HashData(value, "kmsd/v1/check/mac"u8);
        RootGeneration root = _token.OpenGeneration(_descriptor with { MacCheck = check });

        byte[] number = new byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(number, 1);
        byte[] input = [0, 0, 0, 4, .. "rows"u8, 0, 0, 0, 16, .. SoftHsm.InstanceId, 0, 0, 0, 4, .. number];
        Assert.Equal(HMACSHA256.HashData(value, input), Derive(root, "rows"));
    }

    /// <summary>A database that was put back doesn't describe the generation that vouched for what the token remembers.</summary>
    [Fact]
    public void A_generation_that_nobody_describes_derives_the_same_by_its_label()
    {
        RootGenerationDescriptor later = _token.CreateGeneration(5, SoftHsm.InstanceId);
        try
        {
            byte[] expected = Derive(_token.OpenGeneration(later), "rows");
            Assert.Equal(expected, Find(5));
            Assert.Null(Find(6));
            byte[] elsewhere = [.. SoftHsm.InstanceId.Reverse()];
            Assert.Null(_token.FindDerivedKey(5, elsewhere, "rows"));

            // Two of one name: neither counts.
            using (PlantedKey.Beside(_token, later, RootRole.Mac, RandomNumberGenerator.GetBytes(32)))
            {
                Assert.Null(Find(5));
            }

            Assert.Equal(expected, Find(5));
        }
        finally
        {
            _token.DestroyGeneration(later);
        }
    }

    [Theory]
    [InlineData(CKA.CKA_EXTRACTABLE)]
    [InlineData(CKA.CKA_SENSITIVE)]
    [InlineData(CKA.CKA_MODIFIABLE)]
    [InlineData(CKA.CKA_DERIVE)]
    public void A_mac_key_that_isnt_protected_as_it_must_be_derives_nothing(CKA wrong)
    {
        RootGenerationDescriptor later = _token.CreateGeneration(5, SoftHsm.InstanceId);
        try
        {
            using var planted = PlantedKey.InPlaceOf(_token, later, RootRole.Mac, RandomNumberGenerator.GetBytes(32), wrong);
            Assert.Null(Find(5));
        }
        finally
        {
            _token.DestroyGeneration(later);
        }
    }

    [Fact]
    public void A_generation_is_destroyed_by_its_number_and_no_other_is()
    {
        _ = _token.CreateGeneration(5, SoftHsm.InstanceId);
        byte[] otherInstance = [.. SoftHsm.InstanceId.Reverse()];
        RootGenerationDescriptor elsewhere = _token.CreateGeneration(5, otherInstance);
        RootGenerationDescriptor other = _token.CreateGeneration(55, SoftHsm.InstanceId);
        try
        {
            _token.DestroyGeneration(5, SoftHsm.InstanceId);
            Assert.Equal([1U, 55U], _token.FindRootGenerations(SoftHsm.InstanceId).Order());
            _ = _token.OpenGeneration(_descriptor);
            _ = _token.OpenGeneration(elsewhere);
            _ = _token.OpenGeneration(other);
            _token.DestroyGeneration(5, SoftHsm.InstanceId);
        }
        finally
        {
            _token.DestroyGeneration(elsewhere);
            _token.DestroyGeneration(other);
        }
    }

    private byte[]? Find(uint number)
    {
        using SecretBytes? key = _token.FindDerivedKey(number, SoftHsm.InstanceId, "rows");
        if (key is null)
        {
            return null;
        }

        using SecretLease lease = key.Open();
        return lease.Bytes.ToArray();
    }

    private void Reopen(int sessions)
    {
        _token.Dispose();
        _token = SoftHsm.Open(sessions: sessions);
    }

    private byte[] Seal(int length, ReadOnlySpan<byte> data)
    {
        using SecretBytes material = new(length, bytes => RandomNumberGenerator.Fill(bytes));
        return _root.Seal(material, data);
    }

    private byte[] Open(ReadOnlySpan<byte> blob, ReadOnlySpan<byte> data)
    {
        using SecretBytes opened = _root.Open(blob, data);
        using SecretLease lease = opened.Open();
        return lease.Bytes.ToArray();
    }

    private void Refused(ReadOnlySpan<byte> blob, ReadOnlySpan<byte> data)
    {
        byte[] copy = blob.ToArray();
        byte[] dataCopy = data.ToArray();
        _ = Assert.Throws<SealedBlobException>(() => _root.Open(copy, dataCopy).Dispose());
    }

    private static byte[] Derive(RootGeneration root, string label)
    {
        using SecretBytes key = root.DeriveKey(label);
        using SecretLease lease = key.Open();
        return lease.Bytes.ToArray();
    }
}
